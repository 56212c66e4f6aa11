//! What to do next in alignment training, without doing it.
//!
//! No device, no files, no clock: records, pairing, packs, schedules and the training machine are plain data and pure
//! functions, so the same loop serves the engine's own session and hosts that own the model.

mod error;
pub mod examples;
pub mod machine;
pub mod metrics;
mod order;
pub mod pack;
pub mod pairing;
mod plan;
pub mod records;
pub mod rng;
pub mod schedule;

pub use error::Error;
pub use examples::{ExampleHeader, ExampleRecord};
pub use machine::{Answer, Job, Machine, MachineState, SequenceRef, Which, Work};
pub use metrics::{Clamped, StepMetrics};
pub use order::Order;
pub use pack::{Pack, Score, Segment, Sequence};
pub use pairing::Mismatch;
pub use plan::RunPlan;
pub use records::{Dataset, Record, Unit};
pub use rng::Rng;
pub use schedule::Schedule;
