//! As NeMo-Aligner (`megatron_gpt_kto_model.py`): the mean over ranks of max(0, each rank's mean).
//!
//! Clamping before averaging biases up more: the mean of clamps is at least the clamp of the mean.

use super::{Definition, SHARED, ratio};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "clamp_first",
    meaning: "as NeMo-Aligner: each rank's mean is clamped at 0 before the mean over ranks",
    accumulate: |sums, rows| {
        let sum: f64 = rows.iter().map(|row| row.x).sum();
        sums[0] += ratio(sum, rows.len() as f64).max(0.0);
        sums[1] += f64::from(!rows.is_empty());
    },
    ..SHARED
};
