//! The mean of the two classes' mean log-ratios, unclamped: Diffusion-KTO's second choice (arXiv 2404.04465), and BCO's δ of the
//! paper (arXiv 2404.04656) without its memory. It does not lean towards the class that has more rows.

use super::class_opposite::by_class;
use super::{Definition, SHARED, Source, ratio};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "class_mean",
    meaning: "the mean of the two classes' mean log-ratios, unclamped: imbalance does not move it",
    source: Source::Matched,
    clamp: false,
    width: |_| 4,
    accumulate: by_class,
    finish: |sums, _, settings| {
        let classes = f64::from(sums[1] > 0.0) + f64::from(sums[3] > 0.0);
        let sum = ratio(sums[0], sums[1]) + ratio(sums[2], sums[3]);
        settings.point(ratio(sum, classes))
    },
    ..SHARED
};
