//! The log-probability head: hidden states and the output matrix to log-probabilities of scored tokens, without a
//! rows × vocabulary buffer.
//!
//! An entry m scores token `targets[m]` by the hidden state of row `rows[m]`. Neighbouring entries of one row (the last
//! prompt token under shared prefixes) share one pass; sort entries by row to profit.

mod backward;
mod forward;
pub mod naive;

pub use backward::{backward_frozen, backward_trained};
pub use forward::forward;

use crate::Error;
use crate::error::{indices, length};

/// A good number of rows at a time for [`forward`] and [`backward_trained`] on a CPU.
pub const CHUNK: usize = 256;

/// Sizes common to all passes, checked once: N, D, V, M.
fn check(
    op: &'static str,
    hidden: usize,
    w: usize,
    d: usize,
    rows: &[u32],
    targets: &[u32],
    chunk: usize,
) -> Result<(), Error> {
    if d == 0 || chunk == 0 {
        return Err(Error::shape(op, "d and chunk must be at least 1"));
    }
    length(op, "hidden", hidden, hidden / d * d)?;
    length(op, "w", w, w / d * d)?;
    length(op, "targets", targets.len(), rows.len())?;
    indices(op, "rows", rows, hidden / d)?;
    indices(op, "targets", targets, w / d)
}

/// Runs of neighbouring entries with the same row: `starts[i]..starts[i + 1]`.
fn runs(rows: &[u32]) -> Vec<usize> {
    let mut starts: Vec<usize> = (0..rows.len())
        .filter(|&m| m == 0 || rows[m] != rows[m - 1])
        .collect();
    starts.push(rows.len());
    starts
}
