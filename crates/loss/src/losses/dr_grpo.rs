//! GRPO done right: Liu et al. 2025, arXiv 2503.20783.
//!
//! `grpo` without its two divisions: advantages are not divided by the group's standard deviation (which favours prompts that
//! are too easy or too hard), and token sums not by the answer's own length (which favours long wrong answers) but by a
//! constant, as TRL does with its completion limit; the sum over rows is divided by the rows of the step.

use super::Built;
use crate::advice::{self, Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::policy_gradient::{self, TokenShare, TokenSurrogate};
use crate::spec::{DataShape, Need, ParamSpec, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "dr_grpo",
    title: "Group relative policy optimisation without its biases",
    shape: DataShape::Grouped,
    needs: &[Need::TokenLogps, Need::OldLogps, Need::Advantages, Need::Reference],
    params: &[
        policy_gradient::advantage("group_mean"),
        policy_gradient::clip_low(0.2),
        policy_gradient::clip_high(0.2),
        policy_gradient::KL_BETA,
        ParamSpec::number(
            "max_completion_length",
            1024.0,
            (1.0, 1e9),
            "what every row's sum over tokens is divided by: the longest completion that sampling allows",
        ),
    ],
    modifiers: modifiers::POLICY_GRADIENT,
    formula: "L = mean over rows of 1/max_completion_length * sum over tokens of P(rho) + kl_beta * (exp(d) - d - 1),  P(rho) \
                  = -min(rho * A, clip(rho, 1 - clip_low, 1 + clip_high) * A),  rho = pi / pi_old,  d = ln pi_ref - ln pi",
    paper: "Liu et al., Understanding R1-Zero-Like Training: A Critical Perspective, 2025",
    arxiv: "2503.20783",
    when_to_use: "As grpo where answers grow longer without growing better. Set max_completion_length to the limit that the \
                  answers were sampled with.",
    implementations: "TRL: loss_type=dr_grpo with scale_rewards off, the same constant. HALOs has none. Averages of micro-batch means \
                  there, the optimiser step's rows here.",
    fits: &[
        Fit {
            data: Trait::Rewards,
            stance: Stance::For,
            strength: 2,
            reason: "it compares the answers of a prompt by their rewards and does not favour long wrong ones; its constant has to be set",
        },
        advice::FORGETS_COMPARISONS,
        advice::NEEDS_REWARDS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let longest = params.number("max_completion_length")?;
    TokenSurrogate::built(&SPEC, params, TokenShare::Of(longest))
}
