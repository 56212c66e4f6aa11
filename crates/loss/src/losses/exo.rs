//! Efficient exact optimisation, pairwise: Ji et al. 2024, arXiv 2402.00856, equation 16.
//!
//! The KL from the policy's choice q = σ(βΔ) to labels smoothed by ε, where DPO takes the other direction: it seeks the mode, and fades
//! on both sides. Sums over completion tokens. The slope is βq(1−q)(ln((1−ε)/ε) − βΔ), its optimum at Δ = ln((1−ε)/ε)/β.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::{Dual, sigmoid};
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "exo",
    title: "Efficient exact optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(1e-3, (1e-12, 0.499))],
    modifiers: modifiers::SMOOTHED_MARGIN,
    formula: "L = q * (ln q - ln(1-e)) + (1-q) * (ln(1-q) - ln e),  q = sigmoid(beta * (r_w - r_l))",
    paper: "Ji et al., Towards Efficient Exact Optimization of Language Model Alignment, 2024, eq. 16",
    arxiv: "2402.00856",
    when_to_use: "Pairs of which some are wrong and should be let go: what lies far on the wrong side is given up, as \
                  kto gives rows up.",
    implementations: "TRL: loss_type=exo_pair, the same formula; its label_smoothing is 0 unless set, which it \
                      refuses: it recommends 1e-3, the default here.",
    fits: &[
        Fit {
            data: Trait::Noisy,
            stance: Stance::For,
            strength: 1,
            reason: "pairs that are far on the wrong side are given up",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Exo {
        beta: params.number("beta")?,
        flipped: params.number("label_smoothing")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Exo {
    beta: f64,
    /// ε
    flipped: f64,
}

impl Formula<2> for Exo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio()); // of rewards
        let (q, other) = (margin.sigmoid(), (-margin).sigmoid());
        let (ln_q, ln_other) = (margin.log_sigmoid(), (-margin).log_sigmoid());
        q * (ln_q - libm::log1p(-self.flipped)) + other * (ln_other - libm::log(self.flipped))
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.log_ratio() - rejected.log_ratio()).value
    }

    /// No closed form: the steepest place and the two where the slope has faded, each by bisection in x = βΔ.
    fn bounds(&self, tolerance: f64) -> Bounds {
        let target = libm::log1p(-self.flipped) - libm::log(self.flipped);
        let slope = |x: f64| (target - x) * sigmoid(x) * sigmoid(-x);
        // the logarithm of the slope is concave below the target: this, its derivative, falls through 0 once
        let rising = |x: f64| 1.0 - 2.0 * sigmoid(x) - 1.0 / (target - x);
        let steepest = last(|x| rising(x) > 0.0, -FAR, target);
        let faded = tolerance * slope(steepest);
        let pulls = |x: f64| slope(x) >= faded;
        Bounds {
            axis: Axis::Margin,
            learnt: Some(last(pulls, steepest, target) / self.beta),
            given_up: Some(last(pulls, steepest, -FAR) / self.beta),
            max_slope: Some(self.beta * slope(steepest)),
            formula: "no closed form: found by bisection",
        }
    }
}

/// e^-x is 0 here, and so is every slope.
const FAR: f64 = 1e3;

/// The last x on the way from one place, where this holds, to another, where it does not.
fn last(holds: impl Fn(f64) -> bool, mut from: f64, mut to: f64) -> f64 {
    // 2^-64 of the way is beyond the digits of x
    for _ in 0..64 {
        let middle = from + (to - from) / 2.0;
        match holds(middle) {
            true => from = middle,
            false => to = middle,
        }
    }
    from
}
