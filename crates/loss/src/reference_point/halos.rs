//! As HALOs (`train/trainers.py`): max(0, Σk / max(1, count of k ≠ 0)) over mismatched completions.
//!
//! A mask by value: a row whose log-ratio is exactly 0, as every row before the first update, is not counted.

use super::{Definition, SHARED};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "halos",
    meaning: "as HALOs: mismatch, but rows whose log-ratio is exactly 0 are not counted",
    accumulate: |sums, rows| {
        for row in rows {
            sums[0] += row.x;
            sums[1] += f64::from(row.x != 0.0);
        }
    },
    finish: |sums, _, settings| {
        let count = if sums[1] > 1.0 { sums[1] } else { 1.0 };
        settings.point(sums[0] / count)
    },
    ..SHARED
};
