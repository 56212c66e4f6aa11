//! The ops of training on plain slices: forward and backward, CPU.
//!
//! The crate knows no model, no loss and no tensor library. Buffers are row-major and contiguous, and they belong to the
//! caller. Letters in shapes: **N** tokens of a pack, **M** scored entries, **R** sequences, **D** hidden, **H** query heads,
//! **K** key/value heads, **E** head dimension, **F** MLP width, **V** vocabulary.
//!
//! Every op has a naive form, generic over [`float::Float`] (`f32`, `f64`), beside its fast `f32` form: the naive form is
//! short enough to be read against its formula, and the tests hold the fast form to it.
//!
//! Work is spread over the current rayon pool. Results are bit-identical from run to run for a given number of threads:
//! every reduction has a fixed order, whatever the scheduling.

pub mod attention;
pub mod bias;
pub mod elements;
pub mod embedding;
mod error;
mod exp;
pub mod float;
pub mod gpu;
pub mod head;
pub mod matmul;
pub mod optim;
mod parallel;
pub mod rms_norm;
pub mod rope;
pub mod shaping;
mod simd;
pub mod swiglu;

pub use error::Error;
