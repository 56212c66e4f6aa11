//! The registry. A new loss is one file in `losses/` and one word in the list below.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;

use crate::advantage::Advantage;
use crate::dual::Dual;
use crate::error::Error;
use crate::example::{Row, Sequence, Token};
use crate::modifiers::TokenRules;
use crate::params::Params;
use crate::reference_point::Estimator;
use crate::saturation::Bounds;
use crate::spec::{Need, Spec};

/// `name` stands for `losses/name.rs`, which holds `SPEC` and `build`.
macro_rules! losses {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*
        const DEFINITIONS: &[Definition] = &[$(Definition { spec: &$name::SPEC, build: $name::build }),*];
        static SPECS: &[&Spec] = &[$(&$name::SPEC),*];
    };
}

losses![
    kto,
    apo_zero_unpaired,
    bco,
    dpo,
    simpo,
    cpo,
    alphapo,
    orpo,
    slic,
    sft,
    csft,
    ppo_clip,
    grpo,
    dr_grpo,
    dapo,
    gspo,
    cispo,
    rloo,
    bradley_terry,
    diffusion_dpo,
    diffusion_kto,
];

/// Every loss, in the order of help texts.
pub fn registry() -> &'static [&'static Spec] {
    SPECS
}

/// What is known about one loss.
///
/// # Errors
/// An unknown name, with the known ones.
pub fn find(name: &str) -> Result<&'static Spec, Error> {
    definition(name).map(|d| d.spec)
}

pub(crate) fn definition(name: &str) -> Result<&'static Definition, Error> {
    DEFINITIONS
        .iter()
        .find(|d| d.spec.name == name)
        .ok_or_else(|| {
            let known: Vec<&str> = SPECS.iter().map(|s| s.name).collect();
            Error::unknown("loss", name, &known)
        })
}

pub(crate) struct Definition {
    pub(crate) spec: &'static Spec,
    /// Makes the formula of parameters that are complete and each in its range; may refuse combinations.
    pub(crate) build: fn(&Params) -> Result<Built, Error>,
}

/// A loss whose parameters are known.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) kernel: Kernel,
    pub(crate) needs: Vec<Need>,
    pub(crate) denominator: Denominator,
    pub(crate) reference_point: Option<Estimator>,
    pub(crate) coupling: Coupling,
    pub(crate) advantage: Option<Advantage>,
    pub(crate) tokens: TokenRules,
}

impl Built {
    /// Everything the spec says; a mean over units; no reference point, no advantages, units that do not know each other.
    pub(crate) fn new(spec: &Spec, kernel: Kernel) -> Built {
        Built {
            kernel,
            needs: spec.needs.to_vec(),
            denominator: Denominator::Units,
            reference_point: None,
            coupling: Coupling::None,
            advantage: None,
            tokens: TokenRules::default(),
        }
    }

    /// Without what this choice of parameters does not need.
    pub(crate) fn without(mut self, need: Need) -> Built {
        self.needs.retain(|other| *other != need);
        self
    }
}

/// The unit that a formula looks at.
#[derive(Clone, Debug)]
pub(crate) enum Kernel {
    Row(Arc<dyn Formula<1>>),
    Pair(Arc<dyn Formula<2>>),
    Token(Arc<dyn TokenFormula>),
}

impl Kernel {
    pub(crate) fn row(formula: impl Formula<1> + 'static) -> Kernel {
        Kernel::Row(Arc::new(formula))
    }

    pub(crate) fn pair(formula: impl Formula<2> + 'static) -> Kernel {
        Kernel::Pair(Arc::new(formula))
    }

    pub(crate) fn token(formula: impl TokenFormula + 'static) -> Kernel {
        Kernel::Token(Arc::new(formula))
    }

    pub(crate) fn rows_per_unit(&self) -> usize {
        match self {
            Kernel::Pair(_) => 2,
            Kernel::Row(_) | Kernel::Token(_) => 1,
        }
    }

    pub(crate) fn bounds(&self, tolerance: f64) -> Bounds {
        match self {
            Kernel::Row(formula) => formula.bounds(tolerance),
            Kernel::Pair(formula) => formula.bounds(tolerance),
            Kernel::Token(_) => Bounds::never(),
        }
    }
}

/// What the sum over units is divided by; always the global count, never a micro-batch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Denominator {
    Units,
    Tokens,
}

/// Whether the units of a step know each other. A loss that couples them must be evaluated on the whole step at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coupling {
    None,
    /// The k-th smallest margin of the policy meets the k-th smallest of the reference.
    Margins,
    /// The k-th smallest chosen log-ratio meets the k-th smallest rejected one.
    Answers,
}

/// A loss of units of `N` rows (1: a row; 2: chosen and rejected), each row's log-probability a variable.
///
/// Only `value` is the loss; the rest tells what the loss does to the data, and has a default for losses
/// that do nothing of the kind.
pub(crate) trait Formula<const N: usize>: Debug + Send + Sync {
    /// The loss of one unit, before any normalisation. Whoever has a β multiplies it with the first row's `beta_scale`.
    fn value(&self, unit: &[Sequence<N>; N]) -> Dual<N>;

    /// The implicit reward of one of its rows, β·r unless the loss defines another; 0 where it has none.
    fn reward(&self, _row: &Sequence<N>) -> f64 {
        0.0
    }

    /// Where the unit stands on the axis of `bounds`: larger is further on the right side.
    fn progress(&self, _unit: &[Sequence<N>; N]) -> f64 {
        0.0
    }

    /// Where the slope has fallen below `tolerance` times its maximum.
    fn bounds(&self, _tolerance: f64) -> Bounds {
        Bounds::never()
    }

    /// Whether the value here is not the paper's, because its slope there is not finite or its exponent too large, or whether its
    /// ratio is where the gradient is cut off.
    fn clipped(&self, _unit: &[Sequence<N>; N]) -> bool {
        false
    }
}

/// A loss of single tokens: a row's is the sum over its tokens times `scale`.
pub(crate) trait TokenFormula: Debug + Send + Sync {
    /// The loss of one token.
    fn value(&self, token: &Token) -> Dual<1>;

    /// What a row's sum over tokens is multiplied by: 1 / n for a mean.
    fn scale(&self, _row: &Row) -> f64 {
        1.0
    }

    /// Whether the token's ratio is where its gradient is cut off.
    fn clipped(&self, token: &Token) -> bool;
}
