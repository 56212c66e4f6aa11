//! The alignment engine: data, models, sessions, checkpoints, generation and evaluation on candle.

pub mod advise;
mod array;
mod atomic;
pub mod bank;
mod checkpoint;
pub mod config;
pub mod data;
pub mod device;
pub mod error;
pub mod eval;
pub mod generate;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(not(feature = "hub"))]
#[path = "hub/absent.rs"]
mod hub;
pub mod models;
mod ops;
mod optimizer;
mod records;
mod reference;
mod run_folder;
pub mod saturation;
pub mod score;
pub mod selftest;
pub mod session;
mod storage;
mod tensor_file;
pub mod tokenizer;
pub mod tune;
pub mod weights;

pub use error::{Error, Result};
pub use run_folder::CONFIG as RUN_CONFIG;

/// Who writes the files: the engine and its version.
pub const ENGINE: &str = concat!("halo ", env!("CARGO_PKG_VERSION"));
