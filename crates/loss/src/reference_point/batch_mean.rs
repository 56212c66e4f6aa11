//! max(0, mean log-ratio of the rows themselves): no extra forward passes.
//!
//! Diffusion-KTO's choice (arXiv 2404.04465). Hand-picked answers are no sample of the policy, so this is no
//! estimate of a divergence, and the rows it is compared with are the rows it is made of.

use super::{Definition, SHARED, Source};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "batch_mean",
    meaning: "max(0, mean log-ratio of the rows themselves): no extra forward passes",
    source: Source::Matched,
    ..SHARED
};
