//! KTO's own (arXiv 2402.01306, section 4.1): max(0, mean log-ratio of mismatched completions).
//!
//! An estimate of KL(π ‖ π_ref) from x_i with the completion of another prompt, which avoids hand-picked
//! answers. The clamp biases it up and lowers its variance; it comes after the mean over the whole scope,
//! because the mean of clamps is at least the clamp of the mean.

use super::{Definition, SHARED};

pub(super) const ESTIMATOR: Definition = Definition {
    name: "mismatch",
    meaning: "max(0, mean log-ratio of completions under other prompts): an estimate of KL(pi || pi_ref)",
    ..SHARED
};
