//! Conservative DPO: Mitchell 2023 ("A note on DPO with noisy preferences and relationship to IPO").
//!
//! Labels are wrong with probability ε: a pair has a finite best margin, ln((1−ε)/ε)/β, and is pulled back beyond it. Sums over
//! completion tokens. TRL ≥ 0.29 ignores `label_smoothing` for its `sigmoid` in silence; with this loss it cannot be ignored.

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, Spec};
use super::{Built, Formula, Kernel};

pub(super) static SPEC: Spec = Spec {
    name: "cdpo",
    title: "Conservative DPO",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(0.2, (0.0, 0.5))],
    modifiers: modifiers::SMOOTHED_MARGIN,
    formula: "L = -(1-e) * ln sigmoid(beta * delta) - e * ln sigmoid(-beta * delta),  delta = r_w - r_l",
    paper: "Mitchell, A note on DPO with noisy preferences and relationship to IPO, 2023",
    arxiv: "",
    when_to_use: "Pairs of which a known share is wrong: margins stop growing where the odds of the labels are reached. Unlike `robust_dpo` it is biased towards small margins, and bounded below.",
    implementations: "HALOs: loss=cdpo, the same. TRL 1.16 takes label_smoothing with loss_type=sigmoid but does not use it.",
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Cdpo {
        beta: params.number("beta")?,
        flipped: params.number("label_smoothing")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Cdpo {
    beta: f64,
    flipped: f64,
}

impl Formula<2> for Cdpo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio()); // of rewards
        smoothed(margin, self.flipped)
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.log_ratio() - rejected.log_ratio()).value
    }

    /// Learnt a little before the optimum, where the pull has gone; beyond, the pair is pulled back to it.
    fn bounds(&self, tolerance: f64) -> Bounds {
        let (beta, flipped) = (self.beta, self.flipped);
        // (1-e) σ(-x) - e σ(x) = tol · (1-e)  ⇔  σ(x) = (1-e)(1-tol)
        let reached = (1.0 - flipped) * (1.0 - tolerance);
        Bounds {
            axis: Axis::Margin,
            learnt: Some(libm::log(reached / (1.0 - reached)) / beta),
            given_up: None,
            max_slope: Some(beta * (1.0 - flipped)),
        }
    }
}

/// −(1−ε)·ln σ(x) − ε·ln σ(−x): the cross-entropy of a label that is wrong with probability ε.
pub(super) fn smoothed(margin: Dual<2>, flipped: f64) -> Dual<2> {
    -(1.0 - flipped) * margin.log_sigmoid() - flipped * (-margin).log_sigmoid()
}
