//! Conservative DPO: Mitchell 2023, "A note on DPO with noisy preferences and relationship to IPO".
//!
//! Sums over completion tokens. Labels are wrong with probability ε, so a pair has a best margin, ln((1−ε)/ε)/β, and is pulled back
//! beyond it. TRL from 0.29 on ignores `label_smoothing` for its `sigmoid` in silence; here it is the loss.

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
    name: "cdpo",
    title: "Conservative DPO",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(0.2, (0.0, 0.5))],
    modifiers: modifiers::SMOOTHED_MARGIN,
    formula: "L = -(1-e) * ln sigmoid(beta * delta) - e * ln sigmoid(-beta * delta),  delta = r_w - r_l",
    paper: "Mitchell, A note on DPO with noisy preferences and relationship to IPO, 2023",
    arxiv: "",
    when_to_use: "Pairs of which a known share is wrong. Margins stop growing where the odds of the labels are \
                  reached, so that wrong pairs cannot pull for ever; robust_dpo corrects for them without that limit.",
    implementations: "HALOs: loss=cdpo, the same formula. TRL has none: its loss_type=sigmoid takes label_smoothing \
                      and does not use it.",
    fits: &[
        Fit {
            data: Trait::Noisy,
            stance: Stance::For,
            strength: 2,
            reason: "no pair, right or wrong, pulls beyond the odds that its label deserves",
        },
        advice::NEEDS_PAIRS,
    ],
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
pub(super) struct Cdpo {
    pub(super) beta: f64,
    /// ε
    pub(super) flipped: f64,
}

impl Formula<2> for Cdpo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio()); // of rewards
        -(1.0 - self.flipped) * margin.log_sigmoid() - self.flipped * (-margin).log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.log_ratio() - rejected.log_ratio()).value
    }

    /// Learnt where the pull first falls below the tolerance, shortly before the optimum; beyond, the pair is pulled back to it.
    fn bounds(&self, tolerance: f64) -> Bounds {
        // -dL/dx = (1-ε) σ(-x) - ε σ(x) = 1-ε - σ(x) falls to tol (1-ε) at σ(x) = (1-ε)(1-tol)
        let reached = (1.0 - self.flipped) * (1.0 - tolerance);
        Bounds {
            axis: Axis::Margin,
            learnt: Some(libm::log(reached / (1.0 - reached)) / self.beta),
            given_up: None,
            max_slope: Some(self.beta * (1.0 - self.flipped)),
            formula: "ln(c/(1 − c)) / β, c = (1 − ε_label)(1 − ε)",
        }
    }
}
