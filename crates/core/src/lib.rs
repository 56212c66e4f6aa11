//! The alignment engine: data, models, sessions, checkpoints, generation and evaluation on candle.

pub mod error;

pub use error::{Error, Result};
