//! Hinge loss on the margin of rewards: Liu et al. 2023 (RSO), arXiv 2309.06657; SLiC's loss with DPO's rewards.
//!
//! Sums over completion tokens. Linear up to a margin of 1/β, exactly 0 from there on: learnt pairs rest at once, hard ones pull
//! evenly. RSO writes γ for β and uses 0.05.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "hinge",
    title: "Hinge preference loss",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1)],
    modifiers: modifiers::MARGIN,
    formula: "L = max(0, 1 - beta * (r_w - r_l))",
    paper: "Liu et al., Statistical Rejection Sampling Improves Preference Optimization, 2023",
    arxiv: "2309.06657",
    when_to_use: "Clean pairs, of which those that are right by a margin should stop mattering altogether.",
    implementations: "TRL: loss_type=hinge, the same formula and beta; RSO itself has 0.05.",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 1,
            reason: "pairs that are right by a margin stop counting at once, so the rest is what it learns from",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Hinge {
        beta: params.number("beta")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Hinge {
    beta: f64,
}

impl Formula<2> for Hinge {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio()); // of rewards
        (1.0 - margin).relu()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.log_ratio() - rejected.log_ratio()).value
    }

    fn bounds(&self, _: f64) -> Bounds {
        Bounds {
            axis: Axis::Margin,
            learnt: Some(1.0 / self.beta),
            given_up: None,
            max_slope: Some(self.beta),
            formula: "1/β",
        }
    }
}
