//! Efficient exact optimisation, pairwise: Ji et al. 2024, arXiv 2402.00856.
//!
//! The reverse KL between the policy's choice q = σ(βδ) and the labels smoothed by ε, where DPO minimises the forward one: it seeks the
//! mode, and fades on both sides. Sums over completion tokens.

use crate::dual::Dual;
use crate::dual::sigmoid;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, Spec};
use super::{Built, Formula, Kernel};

pub(super) static SPEC: Spec = Spec {
    name: "exo",
    title: "Efficient exact optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(1e-3, (1e-12, 0.499))],
    modifiers: modifiers::SMOOTHED_MARGIN,
    formula: "L = q * (ln q - ln(1-e)) + (1-q) * (ln(1-q) - ln e),  q = sigmoid(beta * (r_w - r_l))",
    paper: "Ji et al., Towards Efficient Exact Optimization of Language Model Alignment, 2024",
    arxiv: "2402.00856",
    when_to_use: "Pairs with some noise: pairs that are far on the wrong side are given up, as KTO gives rows up.",
    implementations: "TRL: loss_type=exo_pair, the same with label_smoothing 1e-3 where it is 0.",
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
    flipped: f64,
}

impl Formula<2> for Exo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio()); // of rewards
        let (right, wrong) = (margin.sigmoid(), (-margin).sigmoid());
        let (ln_right, ln_wrong) = (margin.log_sigmoid(), (-margin).log_sigmoid());
        right * (ln_right - libm::log1p(-self.flipped)) + wrong * (ln_wrong - libm::log(self.flipped))
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.log_ratio() - rejected.log_ratio()).value
    }

    fn bounds(&self, tolerance: f64) -> Bounds {
        let target = libm::log((1.0 - self.flipped) / self.flipped); // its optimum, βΔ
        // dL/dx: 0 at the target, steepest between, fading on both sides
        let slope = |x: f64| (target - x) * sigmoid(x) * sigmoid(-x);
        let peak = steepest(slope, target);
        let level = tolerance * slope(peak);
        Bounds {
            axis: Axis::Margin,
            learnt: Some(crossing(slope, level, peak, target) / self.beta),
            given_up: Some(crossing(slope, level, peak, -1e3) / self.beta),
            max_slope: Some(self.beta * slope(peak)),
        }
    }
}

/// Where the slope is largest below the target: its logarithm is concave there, so a ternary search finds it.
fn steepest(slope: impl Fn(f64) -> f64, target: f64) -> f64 {
    let (mut low, mut high) = (-60.0, target);
    for _ in 0..200 {
        let third = (high - low) / 3.0;
        match slope(low + third) < slope(high - third) {
            true => low += third,
            false => high -= third,
        }
    }
    (low + high) / 2.0
}

/// Where a slope that falls from `inside` to `outside` passes the level, by bisection.
fn crossing(slope: impl Fn(f64) -> f64, level: f64, mut inside: f64, mut outside: f64) -> f64 {
    for _ in 0..200 {
        let middle = (inside + outside) / 2.0;
        match slope(middle) >= level {
            true => inside = middle,
            false => outside = middle,
        }
    }
    inside
}
