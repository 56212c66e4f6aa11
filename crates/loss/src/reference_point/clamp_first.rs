//! As NeMo-Aligner (`megatron_gpt_kto_model.py`): the mean over ranks of max(0, each rank's mean).
//!
//! Clamping before averaging biases up more: the mean of clamps is at least the clamp of the mean.

use super::{Definition, Point, SHARED, ratio};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "clamp_first",
    meaning: "as NeMo-Aligner: each rank's mean is clamped at 0 before the mean over ranks",
    // the ranks' means, how many, as clamped, how often
    width: |_| 4,
    accumulate: |sums, rows| {
        if rows.is_empty() {
            return;
        }
        let sum: f64 = rows.iter().map(|row| row.x).sum();
        let mean = ratio(sum, rows.len() as f64);
        sums[0] += mean;
        sums[1] += 1.0;
        sums[2] += if mean > 0.0 { mean } else { 0.0 };
        sums[3] += f64::from(mean < 0.0);
    },
    finish: |sums, _, settings| match settings.clamp {
        true => Point {
            raw: ratio(sums[0], sums[1]),
            value: ratio(sums[2], sums[1]),
            clamped: ratio(sums[3], sums[1]),
        },
        false => settings.point(ratio(sums[0], sums[1])),
    },
    ..SHARED
};
