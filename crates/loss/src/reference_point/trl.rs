//! As TRL (`kto_trainer.py`): max(0, mean over ranks of each rank's mean) over mismatched completions.
//!
//! It equals `mismatch` only where all ranks have as many rows. TRL's scope is the micro-batch.

use super::{Definition, SHARED, ratio};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "trl",
    meaning: "as TRL: mismatch as the mean of the ranks' means, then the clamp",
    accumulate: |sums, rows| {
        let sum: f64 = rows.iter().map(|row| row.x).sum();
        sums[0] += ratio(sum, rows.len() as f64);
        sums[1] += f64::from(!rows.is_empty());
    },
    ..SHARED
};
