//! Self-play preference optimisation on pairs: Wu et al. 2024, arXiv 2405.00675, equation 4.7.
//!
//! A regression of each log-ratio onto its target ±(P − ½)/β, P the probability that the chosen answer wins: 0 slope only there, no
//! bounds of zones. Sums over completion tokens. The paper estimates P by a judge and uses β = 0.001; with P = 1 it is TRL's hard form.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, ParamSpec, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "sppo",
    title: "Self-play preference optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[
        spec::beta(0.1),
        ParamSpec::number(
            "win_probability",
            1.0,
            (0.0, 1.0),
            "how often the chosen answer wins against the policy's others; 1: hard labels",
        ),
    ],
    modifiers: modifiers::PAIRED,
    formula: "L = (r_w - (P - 1/2) / beta)^2 + (r_l + (P - 1/2) / beta)^2,  P = win_probability",
    paper: "Wu et al., Self-Play Preference Optimization for Language Model Alignment, 2024, eq. 4.7",
    arxiv: "2405.00675",
    when_to_use: "Rounds of self-play: pairs that the policy has just written, ranked by a judge. Each log-ratio has a \
                  target, so neither runs away.",
    implementations: "TRL: loss_type=sppo_hard, the same with P = 1 and beta .1; the paper has 0.001.",
    fits: &[
        Fit {
            data: Trait::Pairs,
            stance: Stance::For,
            strength: 1,
            reason: "both answers have targets, so that nothing runs away over rounds of self-play",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Sppo {
        beta: params.number("beta")?,
        win_probability: params.number("win_probability")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Sppo {
    beta: f64,
    win_probability: f64,
}

impl Formula<2> for Sppo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let target = (self.win_probability - 0.5) / beta; // nats
        (chosen.log_ratio() - target).square() + (rejected.log_ratio() + target).square()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
