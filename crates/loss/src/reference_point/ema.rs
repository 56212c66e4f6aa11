//! An exponential mean over the steps of the rows' mean log-ratio, unclamped; the first step begins it.

use super::{Definition, SHARED, Source, mean};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "ema",
    meaning: "exponential mean over the steps of the rows' mean log-ratio, unclamped",
    source: Source::Matched,
    clamp: false,
    finish: |sums, memory, settings| {
        match memory.first_mut() {
            Some(kept) if sums[1] > 0.0 => {
                *kept = settings.decay * *kept + (1.0 - settings.decay) * mean(sums);
            }
            None if sums[1] > 0.0 => memory.push(mean(sums)),
            _ => {}
        }
        settings.point(memory.first().copied().unwrap_or_default())
    },
    ..SHARED
};
