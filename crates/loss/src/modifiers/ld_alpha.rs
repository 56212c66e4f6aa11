//! LD-DPO: Liu et al. 2024, arXiv 2409.06411: what the longer answer says beyond the shorter one's length counts less.

use super::Modifier;
use crate::spec::{Need, ParamSpec};

pub(crate) static MODIFIER: Modifier = Modifier {
    name: "ld_alpha",
    meaning: "tokens beyond the shorter answer's length count with this weight, in policy and reference (LD-DPO, arXiv 2409.06411)",
    params: &[ParamSpec::number(
        "ld_alpha",
        1.0,
        (0.0, 1.0),
        "weight of the tokens beyond the length of the pair's shorter answer; 1 changes nothing, the paper uses 0.5",
    )],
    needs: &[Need::TokenLogps],
};
