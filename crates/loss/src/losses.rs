//! The registry. A new loss is one file in `losses/` and one word in the list below.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::params::Params;
use crate::reference_point::{Estimator, Point};
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

losses![kto, dpo, sft];

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
}

impl Built {
    /// Everything the spec says; a mean over units; no reference point.
    pub(crate) fn new(spec: &Spec, kernel: Kernel) -> Built {
        Built {
            kernel,
            needs: spec.needs.to_vec(),
            denominator: Denominator::Units,
            reference_point: None,
        }
    }
}

/// The unit that a formula looks at. Losses over tokens or over whole groups become a variant here and
/// an arm in `evaluate.rs`.
#[derive(Clone, Debug)]
pub(crate) enum Kernel {
    Row(Arc<dyn Formula<1>>),
    Pair(Arc<dyn Formula<2>>),
}

impl Kernel {
    pub(crate) fn row(formula: impl Formula<1> + 'static) -> Kernel {
        Kernel::Row(Arc::new(formula))
    }

    pub(crate) fn pair(formula: impl Formula<2> + 'static) -> Kernel {
        Kernel::Pair(Arc::new(formula))
    }
}

/// What the sum over units is divided by; always the global count, never a micro-batch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Denominator {
    Units,
    Tokens,
}

/// A loss of units of `N` rows (1: a row; 2: chosen and rejected), each row's log-probability a variable.
///
/// Only `value` is the loss; the rest tells what the loss does to the data, and has a default for losses
/// that do nothing of the kind.
pub(crate) trait Formula<const N: usize>: Debug + Send + Sync {
    /// The loss of one unit, before any normalisation.
    fn value(&self, unit: &[Sequence<N>; N], point: &Point) -> Dual<N>;

    /// The implicit reward β·r of one of its rows; 0 where the loss has none.
    fn reward(&self, _row: &Sequence<N>) -> f64 {
        0.0
    }

    /// Where the unit stands on the axis of `bounds`: larger is further on the right side.
    fn progress(&self, _unit: &[Sequence<N>; N], _point: &Point) -> f64 {
        0.0
    }

    /// Where the slope has fallen below `tolerance` times its maximum.
    fn bounds(&self, _tolerance: f64) -> Bounds {
        Bounds::never()
    }

    /// Whether the value here is not the paper's, because its slope there is not finite.
    fn clipped(&self, _unit: &[Sequence<N>; N], _point: &Point) -> bool {
        false
    }
}
