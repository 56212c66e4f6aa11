//! The largest token log-ratio of the mismatched row, at least 0 (HALOs `accelerate`, `tokenwise_KL`): each row has its own.

use super::{Definition, Measure, SHARED};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "token_max",
    meaning: "each row its own: the largest token log-ratio of its mismatched twin, at least 0",
    measure: Measure::Peak,
    own: Some(|_, row| row.x),
    ..SHARED
};
