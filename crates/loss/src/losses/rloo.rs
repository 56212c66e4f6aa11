//! REINFORCE, leave one out: Ahmadian et al. 2024, arXiv 2402.14740, with PPO's clip on the whole answer's ratio.
//!
//! An answer is one action: ρ = exp(Σ(ln π − ln π_old)), a loss of sums. The advantage is the reward minus the mean of the group's
//! others. The paper has no clip (it samples anew each step, where ρ = 1 and both agree); TRL clips as here. TRL's rewards include
//! −.05 · Σ(ln π_old − ln π_ref): here a reward is the data's.

use super::Built;
use crate::advice::{self, Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::policy_gradient::{self, RowSurrogate};
use crate::spec::{DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "rloo",
    title: "REINFORCE, leave one out",
    shape: DataShape::Grouped,
    needs: &[Need::OldLogps, Need::Advantages],
    params: &[
        policy_gradient::advantage("leave_one_out"),
        policy_gradient::clip_low(0.2),
        policy_gradient::clip_high(0.2),
    ],
    modifiers: modifiers::POLICY_GRADIENT,
    formula: "L = mean over rows of P(rho),  P(rho) = -min(rho * A, clip(rho, 1 - clip_low, 1 + clip_high) * A),  rho = \
                  pi(y|x) / pi_old(y|x)",
    paper: "Ahmadian et al., Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in \
                  LLMs, 2024",
    arxiv: "2402.14740",
    when_to_use: "Several answers to each prompt with rewards, fresh from the policy: the plainest unbiased gradient. With older \
                  answers the whole answer's ratio leaves the clip at once.",
    implementations: "TRL: RLOOTrainer, the same clip, rewards minus .05 times the divergence from the reference. HALOs has none. \
                  Averages of micro-batch means there, the optimiser step's rows here.",
    fits: &[
        Fit {
            data: Trait::Rewards,
            stance: Stance::For,
            strength: 2,
            reason: "it compares the answers of a prompt by their rewards without bias, as long as they are fresh",
        },
        advice::FORGETS_COMPARISONS,
        advice::NEEDS_REWARDS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    RowSurrogate::built(&SPEC, params, false)
}
