//! No reference point: KTO's ablation without z₀, and APO-zero for unpaired data (arXiv 2408.06266).

use super::{Definition, Point, SHARED, Source};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "zero",
    meaning: "no reference point",
    source: Source::None,
    accumulate: |_, _| {},
    finish: |_, _, _| Point::default(),
    ..SHARED
};
