//! Group sequence policy optimisation: Zheng et al. 2025, arXiv 2507.18071.
//!
//! One ratio for a whole answer, the geometric mean of its tokens': a loss of sums, so that every token of a row has the same
//! gradient and no columns per token are asked. The clip is far narrower than `grpo`'s because the ratio is a mean. Mean over
//! sequences.

use super::Built;
use crate::advice::{self, Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::policy_gradient::{self, RowSurrogate};
use crate::spec::{DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "gspo",
    title: "Group sequence policy optimisation",
    shape: DataShape::Grouped,
    needs: &[Need::OldLogps, Need::Advantages, Need::Lengths],
    params: &[
        policy_gradient::advantage("group_std"),
        policy_gradient::clip_low(3e-4),
        policy_gradient::clip_high(4e-4),
    ],
    modifiers: modifiers::POLICY_GRADIENT,
    formula: "L = mean over rows of P(rho),  P(rho) = -min(rho * A, clip(rho, 1 - clip_low, 1 + clip_high) * A),  rho = \
                  exp((ln pi(y|x) - ln pi_old(y|x)) / n)",
    paper: "Zheng et al., Group Sequence Policy Optimization, 2025",
    arxiv: "2507.18071",
    when_to_use: "As grpo where ratios of single tokens are too noisy: long answers, mixtures of experts.",
    implementations: "TRL: loss_type=grpo with importance_sampling_level=sequence; its epsilons have to be set to 3e-4 and 4e-4. HALOs \
                  has none. Averages of micro-batch means there, the optimiser step's rows here.",
    fits: &[
        Fit {
            data: Trait::Rewards,
            stance: Stance::For,
            strength: 2,
            reason: "it compares the answers of a prompt by their rewards, with one steady ratio an answer; its clip has to fit the lengths",
        },
        advice::FORGETS_COMPARISONS,
        advice::NEEDS_REWARDS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    RowSurrogate::built(&SPEC, params, true)
}
