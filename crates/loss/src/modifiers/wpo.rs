//! WPO: Zhou et al. 2024, arXiv 2406.11827: pairs that the policy would not say itself count less.
//!
//! The pair's loss is multiplied by w_w · w_l, never differentiated. `exact` aligns each token with the policy's own sampling:
//! w = exp(mean_t[ln π_t − ln Σ_v π_v²]), as TRL's `use_weighting`. `plain` is open-instruct's form exp(a_w + a_l), at most 1.

use super::Modifier;
use crate::error::Error;
use crate::params::Params;
use crate::spec::{Need, ParamSpec};

pub(crate) static MODIFIER: Modifier = Modifier {
    name: "wpo",
    meaning: "a pair weighs as much as the policy is likely to say it, to bring off-policy pairs nearer (WPO, arXiv 2406.11827)",
    params: &[ParamSpec::choice(
        "wpo",
        "off",
        &["off", "plain", "exact"],
        "exact: each token against the policy's own spread over the vocabulary, as TRL; plain: the mean log-probability alone",
    )],
    needs: &[Need::TokenLogps, Need::VocabStats],
};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Wpo {
    #[default]
    Off,
    Plain,
    Exact,
}

impl Wpo {
    pub(super) fn new(params: &Params) -> Result<Wpo, Error> {
        Ok(match params.text("wpo")? {
            "plain" => Wpo::Plain,
            "exact" => Wpo::Exact,
            _ => Wpo::Off,
        })
    }
}
