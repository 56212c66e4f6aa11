//! Group relative policy optimisation: Shao et al. 2024, arXiv 2402.03300, with its divergence k3.
//!
//! Mean over sequences of token means of the clipped surrogate; advantages are rewards in standard deviations of their group,
//! as the data gives them. kl_beta is 0 as in TRL today (the paper: .04); without it no reference is asked. HALOs divides by
//! the population's standard deviation plus 1e-2, here and in TRL it is that of n − 1 plus 1e-4.

use super::Built;
use crate::advice::{self, Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::policy_gradient::{self, TokenShare, TokenSurrogate};
use crate::spec::{DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "grpo",
    title: "Group relative policy optimisation",
    shape: DataShape::Grouped,
    needs: &[Need::TokenLogps, Need::OldLogps, Need::Advantages, Need::Lengths, Need::Reference],
    params: &[
        policy_gradient::advantage("group_std"),
        policy_gradient::clip_low(0.2),
        policy_gradient::clip_high(0.2),
        policy_gradient::KL_BETA,
    ],
    modifiers: modifiers::POLICY_GRADIENT,
    formula: "L = mean over rows of 1/n * sum over tokens of P(rho) + kl_beta * (exp(d) - d - 1),  P(rho) = -min(rho * A, \
                  clip(rho, 1 - clip_low, 1 + clip_high) * A),  rho = pi / pi_old,  d = ln pi_ref - ln pi",
    paper: "Shao et al., DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models, 2024",
    arxiv: "2402.03300",
    when_to_use: "Several answers to each prompt with a reward that can be computed. The group's mean stands in for a critic; each \
                  answer weighs the same, so tokens of long ones weigh less.",
    implementations: "TRL: loss_type=grpo, the same formula with beta 0; its default has become dapo. HALOs: population standard \
                  deviation plus 1e-2. Averages of micro-batch means there, the optimiser step's rows here.",
    fits: &[
        Fit {
            data: Trait::Rewards,
            stance: Stance::For,
            strength: 3,
            reason: "it compares the answers of a prompt by their rewards, without a critic",
        },
        advice::FORGETS_COMPARISONS,
        advice::NEEDS_REWARDS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    TokenSurrogate::built(&SPEC, params, TokenShare::Mean)
}
