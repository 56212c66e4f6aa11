//! KTO's first version: each class is measured against the mean log-ratio of the other one (HALOs `updates`, HALOs#4).
//!
//! The original differentiates it; here it is a constant as every point is. No extra forward passes.

use super::{Definition, Observed, SHARED, Source, ratio};
use crate::example::Label;

pub(super) const ESTIMATOR: Definition = Definition {
    name: "class_opposite",
    meaning: "KTO's first version: max(0, mean log-ratio of the rows of the other label)",
    source: Source::Matched,
    width: |_| 4,
    accumulate: by_class,
    finish: |sums, _, settings| settings.point(ratio(sums[0] + sums[2], sums[1] + sums[3])),
    own: Some(|sums, row| match row.label {
        Label::Desirable => ratio(sums[2], sums[3]),
        Label::Undesirable => ratio(sums[0], sums[1]),
    }),
    ..SHARED
};

/// Sum and count of the desirable rows, then of the undesirable ones.
pub(super) fn by_class(sums: &mut [f64], rows: &[Observed]) {
    for row in rows {
        let class = 2 * usize::from(row.label == Label::Undesirable);
        sums[class] += row.x;
        sums[class + 1] += 1.0;
    }
}
