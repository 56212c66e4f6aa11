//! DPO-positive: Pal et al. 2024 (Smaug), arXiv 2402.13228.
//!
//! Sums over completion tokens. A penalty where the chosen answer is less likely than under the reference, inside the sigmoid as in the
//! paper; mlx-lm-lora has it outside. No bounds of zones: the penalty pulls on the chosen answer whatever the margin, with another
//! slope. No f_divergence: the penalty is on r_w itself.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, ParamSpec, Preset, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "dpop",
    title: "DPO-positive",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[
        spec::beta(0.1),
        ParamSpec::number(
            "penalty_weight",
            50.0,
            (0.0, 1e6),
            "penalty for each nat by which the chosen answer is less likely than under the reference",
        ),
        ParamSpec::choice(
            "penalty",
            "inside",
            &["inside", "outside"],
            "inside: part of the margin, as in the paper; outside: added to the loss",
        ),
    ],
    modifiers: modifiers::PAIRED,
    presets: &[Preset {
        name: "mlx",
        values: &[("penalty", "outside")],
    }],
    formula: "L = -ln sigmoid(beta * (r_w - r_l - k * max(0, -r_w))),  k = penalty_weight;  outside: -ln sigmoid(beta \
              * (r_w - r_l)) + k * max(0, -r_w)",
    paper: "Pal et al., Smaug: Fixing Failure Modes of Preference Optimisation with DPO-Positive, 2024",
    arxiv: "2402.13228",
    when_to_use: "Pairs whose two answers differ in a few tokens, where dpo makes both less likely.",
    implementations: "mlx-lm-lora: the penalty outside, weight 50 (compat=mlx). TRL has none.",
    fits: &[
        Fit {
            data: Trait::FineComparisons,
            stance: Stance::For,
            strength: 2,
            reason: "answers that share most of their tokens fall together under plain margins; here the chosen one may not",
        },
        advice::NEEDS_PAIRS,
    ],
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Dpop {
        beta: params.number("beta")?,
        penalty_weight: params.number("penalty_weight")?,
        inside: params.text("penalty")? == "inside",
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Dpop {
    beta: f64,
    penalty_weight: f64,
    inside: bool,
}

impl Formula<2> for Dpop {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = chosen.log_ratio() - rejected.log_ratio();
        let penalty = self.penalty_weight * shortfall(chosen);
        match self.inside {
            true => -(beta * (margin - penalty)).log_sigmoid(),
            false => penalty - (beta * margin).log_sigmoid(),
        }
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}

/// max(0, −r_w), at 0 with the mean of the slopes beside it, as torch.maximum has it: training begins there, and a slope of 0
/// would leave the penalty out of the first step.
fn shortfall(chosen: &Sequence<2>) -> Dual<2> {
    let below = -chosen.log_ratio();
    match below.value == 0.0 {
        true => 0.5 * below,
        false => below.relu(),
    }
}
