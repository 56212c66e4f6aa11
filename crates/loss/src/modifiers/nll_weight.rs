//! The likelihood of what is wanted beside the preference: Pang et al. 2024 (arXiv 2404.19733), for any loss.

use super::Modifier;
use crate::dual::Dual;
use crate::example::{Label, Sequence};
use crate::spec::{self, Need, ParamSpec};

pub(crate) static MODIFIER: Modifier = Modifier {
    name: "nll_weight",
    meaning: "adds the negative log-likelihood per token of the chosen or desirable answer, times this (arXiv 2404.19733)",
    params: &[PARAM],
    needs: &[Need::Lengths],
};

const PARAM: ParamSpec = spec::nll_weight(
    0.0,
    "weight of the chosen (desirable) answer's negative log-likelihood per token",
);

/// −ln π(y_w) / n_w; 0 for an undesirable row alone.
pub(super) fn term<const N: usize>(unit: &[Sequence<N>; N]) -> Dual<N> {
    match unit.iter().find(|row| row.label == Label::Desirable) {
        Some(row) => -row.mean_logp(),
        None => Dual::constant(0.0),
    }
}
