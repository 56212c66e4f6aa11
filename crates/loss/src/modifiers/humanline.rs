//! Humanline: Ethayarajh et al. 2025, arXiv 2509.24207: a token's log-ratio is perceived within limits only.
//!
//! Each token's log-ratio is clamped before it is summed, with gradient 0 outside, in every ratio and in the mismatched rows of a
//! reference point. The paper also moves the reference to the policy before each step: the trainer's reference synchronisation.

use super::Modifier;
use crate::error::Error;
use crate::params::Params;
use crate::spec::{Need, ParamSpec};

pub(crate) static MODIFIER: Modifier = Modifier {
    name: "humanline",
    meaning: "each token's log-ratio to the reference (policy gradient: to the sampling policy) is clamped before anything else \
              (arXiv 2509.24207)",
    params: &[
        ParamSpec::flag("humanline", false, "clamp each token's log-ratio"),
        ParamSpec::number(
            "humanline_low",
            -1.0,
            (-80.0, 0.0),
            "least log-ratio of a token under humanline, nats",
        ),
        ParamSpec::number(
            "humanline_high",
            1.5,
            (0.0, 80.0),
            "greatest log-ratio of a token under humanline, nats",
        ),
    ],
    needs: &[Need::TokenLogps],
};

pub(super) fn range(params: &Params) -> Result<(f64, f64), Error> {
    Ok((
        params.number("humanline_low")?,
        params.number("humanline_high")?,
    ))
}
