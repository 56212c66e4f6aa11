//! max(0, mean log-ratio of the siblings): other completions of the same prompt in the scope. Ours.
//!
//! What a prompt adds to all its rewards (a shift h(x), to which KTO is not blind) cancels. Without siblings a row takes the mean of
//! all other rows.

use super::{Definition, SHARED, Source, observe, ratio};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "per_prompt",
    meaning: "each row its own: max(0, mean log-ratio of the other answers to its prompt; without any, of all other rows)",
    source: Source::Matched,
    width: |groups| 2 + 2 * groups,
    accumulate: |sums, rows| {
        observe(sums, rows);
        for row in rows {
            let at = 2 + 2 * row.group;
            sums[at] += row.x;
            sums[at + 1] += 1.0;
        }
    },
    own: Some(|sums, row| {
        let at = 2 + 2 * row.group;
        match sums[at + 1] > 1.0 {
            true => (sums[at] - row.x) / (sums[at + 1] - 1.0),
            false => ratio(sums[0] - row.x, sums[1] - 1.0),
        }
    }),
    ..SHARED
};
