//! max(0, mean log-ratio of the other rows), each row its own: `batch_mean` without the row's say in its own point. Ours.
//!
//! With a row in its own mean, its gain is shrunk by 1/n; alone in the scope it would always stand at its reference point.

use super::{Definition, SHARED, Source, ratio};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "leave_one_out",
    meaning: "each row its own: max(0, mean log-ratio of the other rows of the batch)",
    source: Source::Matched,
    own: Some(|sums, row| ratio(sums[0] - row.x, sums[1] - 1.0)),
    ..SHARED
};
