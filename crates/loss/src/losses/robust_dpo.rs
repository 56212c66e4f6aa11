//! Provably robust DPO: Ray Chowdhury, Kini and Natarajan 2024, arXiv 2403.00409.
//!
//! Sums over completion tokens. Unbiased where labels are flipped with probability ε: its mean over the flips is DPO's loss on clean
//! labels. The price is a loss without a lower bound, whose slope never falls below βε/(1−2ε). TRL's ε is 0, which is DPO.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, Preset, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "robust_dpo",
    title: "Provably robust DPO",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(0.1, (0.0, 0.499))],
    modifiers: modifiers::SMOOTHED_MARGIN,
    presets: &[Preset {
        name: "trl",
        values: &[("label_smoothing", "0")],
    }],
    formula: "L = (-(1-e) * ln sigmoid(beta * delta) + e * ln sigmoid(-beta * delta)) / (1 - 2e),  delta = r_w - r_l",
    paper: "Ray Chowdhury et al., Provably Robust DPO: Aligning Language Models with Noisy Feedback, 2024",
    arxiv: "2403.00409",
    when_to_use: "Pairs of which a known share was flipped at random. No pair is ever learnt and margins grow without \
                  end: few epochs, a small learning rate. cdpo has a limit instead.",
    implementations: "TRL: loss_type=robust, the same formula; its label_smoothing is 0 unless set, which makes it DPO \
                      (compat=trl).",
    fits: &[
        Fit {
            data: Trait::Noisy,
            stance: Stance::For,
            strength: 2,
            reason: "what flipped labels add to the gradient is taken out of it again, on average",
        },
        Fit {
            data: Trait::ScarcePairs,
            stance: Stance::Against,
            strength: 1,
            reason: "it never stops pulling, and few pairs are soon learnt by heart",
        },
        advice::NEEDS_PAIRS,
    ],
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
    /// ε
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

    /// The slope goes from β(1−ε)/(1−2ε) down to βε/(1−2ε): learnt only if that is below the tolerance.
    fn bounds(&self, tolerance: f64) -> Bounds {
        let (flipped, clean) = (self.flipped, 1.0 - 2.0 * self.flipped);
        // (1-ε) σ(-x) + ε σ(x) = ε + (1-2ε) σ(-x) falls to tol (1-ε)
        let left = (tolerance * (1.0 - flipped) - flipped) / clean;
        let learnt = (left > 0.0).then(|| libm::log((1.0 - left) / left) / self.beta);
        Bounds {
            axis: Axis::Margin,
            learnt,
            given_up: None,
            max_slope: Some(self.beta * (1.0 - flipped) / clean),
            formula: "ln((1 − c)/c) / β, c = (ε(1 − ε_label) − ε_label)/(1 − 2ε_label)",
        }
    }
}
