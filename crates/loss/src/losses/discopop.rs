//! Log-ratio modulated loss, found by a language model: Lu et al. 2024 (DiscoPOP), arXiv 2406.08414.
//!
//! Sums over completion tokens. A blend of the logistic and the exponential loss by a gate M = σ(k/τ), which is differentiated too. Not
//! convex: between a dip a little below k = 0 and a bump a little above it the slope has the wrong sign, so there are no bounds of
//! zones. M·e^(−k) is one exponential here; it grows only for τ > 1, and is then capped. TRL's β is 0.1.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::{Dual, EXPONENT_CAP};
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, ParamSpec, Preset, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "discopop",
    title: "Discovered preference optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[
        spec::beta(0.05),
        ParamSpec::number(
            "tau",
            0.05,
            (1e-3, 1e3),
            "width of the blend of the two losses, in rewards",
        ),
    ],
    modifiers: modifiers::MARGIN,
    presets: &[Preset {
        name: "trl",
        values: &[("beta", "0.1")],
    }],
    formula: "L = (1 - M) * -ln sigmoid(k) + M * exp(-k),  k = beta * (r_w - r_l),  M = sigmoid(k / tau)",
    paper: "Lu et al., Discovering Preference Optimization Algorithms with and for Large Language Models, 2024",
    arxiv: "2406.08414",
    when_to_use: "Clean pairs, as an alternative to dpo: the same far from equal rewards on either side, but pairs \
                  that are only just wrong may stay so.",
    implementations: "TRL: loss_type=discopop with discopop_tau, beta .1 (compat=trl); e^-k is a factor of its own \
                      there, and can overflow.",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 1,
            reason: "it uses every comparison as dpo does, but leaves pairs that are only just wrong",
        },
        advice::NEEDS_PAIRS,
    ],
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Discopop {
        beta: params.number("beta")?,
        tau: params.number("tau")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Discopop {
    beta: f64,
    tau: f64,
}

impl Discopop {
    /// k and ln(M·e^(−k)).
    fn exponent(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> (Dual<2>, Dual<2>) {
        let beta = self.beta * chosen.beta_scale;
        let k = beta * (chosen.log_ratio() - rejected.log_ratio());
        (k, (k / self.tau).log_sigmoid() - k)
    }
}

impl Formula<2> for Discopop {
    fn value(&self, unit: &[Sequence<2>; 2]) -> Dual<2> {
        let (k, exponent) = self.exponent(unit);
        (-k / self.tau).sigmoid() * -k.log_sigmoid() + exponent.exp_capped()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    fn clipped(&self, unit: &[Sequence<2>; 2]) -> bool {
        self.exponent(unit).1.value > EXPONENT_CAP
    }
}
