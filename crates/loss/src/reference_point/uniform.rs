//! Mean ln π over mismatched rows, unclamped: the reference point against a uniform reference policy.
//!
//! With π_ref uniform, r − z₀ becomes ln π(y|x) − E[ln π(y′|x)] (arXiv 2402.01306, the ablation without
//! π_ref): the constants cancel where lengths agree, and the sign of the mean means nothing, so no clamp.

use super::{Definition, Measure, SHARED};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "uniform",
    meaning: "mean ln pi of completions under other prompts, unclamped",
    measure: Measure::Logp,
    clamp: false,
    ..SHARED
};
