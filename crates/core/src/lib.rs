//! The alignment engine: data, models, sessions, checkpoints, generation and evaluation on candle.

mod atomic;
pub mod bank;
pub mod data;
pub mod error;
pub mod generate;
pub mod models;
mod storage;
pub mod tokenizer;
pub mod weights;

pub use error::{Error, Result};
