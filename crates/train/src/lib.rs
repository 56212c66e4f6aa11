//! What to do next in alignment training, without doing it.
//!
//! No device, no files, no clock: records, pairing, packs, schedules and the training machine are plain data and pure
//! functions, so the same loop serves the engine's own session and hosts that own the model.

mod error;
pub mod pack;
pub mod rng;
pub mod schedule;

pub use error::Error;
pub use pack::{Pack, Score, Segment, Sequence};
pub use rng::Rng;
pub use schedule::Schedule;
