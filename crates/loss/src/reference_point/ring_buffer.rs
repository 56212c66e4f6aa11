//! `mismatch` over the last steps too: max(0, mean over the newest batches of mismatched rows that fill the window). Ours.
//!
//! A micro-batch of one row gives an estimate of as many rows as the window holds; older ones are of an older policy.

use super::{Definition, SHARED, ratio};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "ring_buffer",
    meaning: "mismatch over the newest rows of this and earlier steps: steady with small batches",
    finish: |sums, memory, settings| {
        // newest first: sum, count, sum, count, …
        memory.splice(0..0, [sums[0], sums[1]]);
        let (mut sum, mut count, mut kept) = (0.0, 0.0, 0);
        for batch in memory.as_chunks::<2>().0 {
            if count >= settings.window {
                break;
            }
            sum += batch[0];
            count += batch[1];
            kept += 2;
        }
        memory.truncate(kept);
        settings.point(ratio(sum, count))
    },
    ..SHARED
};
