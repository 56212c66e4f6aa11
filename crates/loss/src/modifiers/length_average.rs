//! Log-probabilities per token instead of per sequence: Meng et al. 2024 (arXiv 2405.14734) argue for it, LN-DPO is DPO with it.

use super::Modifier;
use crate::example::Sequence;
use crate::spec::{Need, ParamSpec};

pub(crate) static MODIFIER: Modifier = Modifier {
    name: "length_average",
    meaning: "log-probabilities of policy and reference are divided by the completion's tokens (length normalisation)",
    params: &[PARAM],
    needs: &[Need::Lengths],
};

/// The flag, for losses that have it in their own formula too.
pub(crate) const PARAM: ParamSpec = ParamSpec::flag(
    "length_average",
    false,
    "divide log-probabilities by the completion's tokens",
);

pub(super) fn apply<const N: usize>(row: &mut Sequence<N>) {
    row.shaped = Some(row.mean_log_ratio());
}
