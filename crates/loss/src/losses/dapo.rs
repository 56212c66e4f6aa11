//! Decoupled clip and dynamic sampling policy optimisation: Yu et al. 2025, arXiv 2503.14476.
//!
//! `grpo` with a higher upper end of the clip, so that unlikely tokens may become likely, and the mean over all tokens of the
//! optimiser step. The paper's dynamic sampling, and dropping answers that were cut off, are the data's work.

use super::{Built, Denominator};
use crate::advice::{self, Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::policy_gradient::{self, TokenShare, TokenSurrogate};
use crate::spec::{DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "dapo",
    title: "Decoupled clip policy optimisation",
    shape: DataShape::Grouped,
    needs: &[Need::TokenLogps, Need::OldLogps, Need::Advantages, Need::Lengths, Need::Reference],
    params: &[
        policy_gradient::advantage("group_std"),
        policy_gradient::clip_low(0.2),
        policy_gradient::clip_high(0.28),
        policy_gradient::KL_BETA,
    ],
    modifiers: modifiers::POLICY_GRADIENT,
    formula: "L = sum over rows and tokens of P(rho) + kl_beta * (exp(d) - d - 1) / tokens of the step,  P(rho) = -min(rho * \
                  A, clip(rho, 1 - clip_low, 1 + clip_high) * A),  rho = pi / pi_old,  d = ln pi_ref - ln pi",
    paper: "Yu et al., DAPO: An Open-Source LLM Reinforcement Learning System at Scale, 2025",
    arxiv: "2503.14476",
    when_to_use: "As grpo with long answers: every token weighs the same, and the wider upper clip keeps answers varied. Drop \
                  answers that were cut off.",
    implementations: "TRL: loss_type=dapo, its default, normalised by the global batch's tokens as here; its epsilon_high is that of \
                  epsilon unless set. HALOs has none.",
    fits: &[
        Fit {
            data: Trait::Rewards,
            stance: Stance::For,
            strength: 2,
            reason: "it compares the answers of a prompt by their rewards, every token alike; long answers dominate",
        },
        advice::FORGETS_COMPARISONS,
        advice::NEEDS_REWARDS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let mut built = TokenSurrogate::built(&SPEC, params, TokenShare::Whole)?;
    built.denominator = Denominator::Tokens;
    Ok(built)
}
