//! The mean log-ratio of all rows ever seen, unclamped: BCO's δ/β as TRL keeps it (arXiv 2404.04656).
//!
//! Updated with the current batch before use; kept in checkpoints. The paper's own is an exponential mean of the classes' means.

use super::{Definition, SHARED, Source, ratio};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "running_mean",
    meaning: "mean log-ratio of all rows since the run began, unclamped: BCO's shift",
    source: Source::Matched,
    clamp: false,
    finish: |sums, memory, settings| {
        memory.resize(2, 0.0);
        memory[0] += sums[0];
        memory[1] += sums[1];
        settings.point(ratio(memory[0], memory[1]))
    },
    ..SHARED
};
