//! `cargo xtask demo-data` and `demo-model`: what `testdata/demo` holds, made anew from a seed.

use crate::shell::{Outcome, root};

mod data;
mod feedback;
#[path = "../../crates/core/src/eval/verifier/lists.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the engine's file: corpus and judge share one table, and this program stays small"
)]
mod lists;
mod model;
mod start;

/// Of everything that the demo draws; each purpose has a stream of its own.
const SEED: u64 = 1979;

/// What ends a task.
type Failure = Box<dyn std::error::Error>;

/// Writes corpus, prompts and vocabulary.
pub(crate) fn data(_: &[String]) -> Outcome {
    data::write(&root().join("testdata/demo")).map_err(|e| e.to_string())
}

/// Writes those, trains the model, and collects the feedback.
pub(crate) fn model(_: &[String]) -> Outcome {
    model::make(&root()).map_err(|e| e.to_string())
}
