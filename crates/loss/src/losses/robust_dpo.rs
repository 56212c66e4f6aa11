//! Provably robust DPO: Ray Chowdhury, Kini and Natarajan 2024, arXiv 2403.00409.
//!
//! Unbiased under labels that are wrong with probability ε: the expectation over flips is DPO's loss on clean labels. The price is a
//! loss without a lower bound, whose slope never falls below βε/(1−2ε). Sums over completion tokens.

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, Spec};
use super::{Built, Formula, Kernel};

pub(super) static SPEC: Spec = Spec {
    name: "robust_dpo",
    title: "Provably robust DPO",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(0.1, (0.0, 0.499))],
    modifiers: modifiers::SMOOTHED_MARGIN,
    formula: "L = (-(1-e) * ln sigmoid(beta * delta) + e * ln sigmoid(-beta * delta)) / (1 - 2e),  delta = r_w - r_l",
    paper: "Ray Chowdhury et al., Provably Robust DPO: Aligning Language Models with Noisy Feedback, 2024",
    arxiv: "2403.00409",
    when_to_use: "Pairs of which a known share was flipped at random. No pair is ever learnt: margins grow without end, so few epochs and a small learning rate.",
    implementations: "TRL: loss_type=robust, the same formula with label_smoothing.",
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Robust {
        beta: params.number("beta")?,
        flipped: params.number("label_smoothing")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Robust {
    beta: f64,
    flipped: f64,
}

impl Formula<2> for Robust {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio()); // of rewards
        let (right, wrong) = (margin.log_sigmoid(), (-margin).log_sigmoid());
        (self.flipped * wrong - (1.0 - self.flipped) * right) / (1.0 - 2.0 * self.flipped)
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.log_ratio() - rejected.log_ratio()).value
    }

    /// The slope goes from β(1−ε)/(1−2ε) to βε/(1−2ε): with flips it never rests.
    fn bounds(&self, tolerance: f64) -> Bounds {
        let (flipped, clean) = (self.flipped, 1.0 - 2.0 * self.flipped);
        // (1-e) σ(-x) + e σ(x) = tol · (1-e)
        let left = (tolerance * (1.0 - flipped) - flipped) / clean;
        let learnt = (left > 0.0).then(|| libm::log((1.0 - left) / left) / self.beta);
        Bounds {
            axis: Axis::Margin,
            learnt,
            given_up: None,
            max_slope: Some(self.beta * (1.0 - flipped) / clean),
        }
    }
}
