//! The log-probability head: hidden states and the output matrix to log-probabilities of scored tokens, without a
//! rows × vocabulary buffer.
//!
//! An entry m scores token `targets[m]` by the hidden state of row `rows[m]`. Neighbouring entries of one row (the last
//! prompt token under shared prefixes) share one pass; sort entries by row to profit.
//!
//! A chunk of rows meets the vocabulary block by block: a tile of logits is made, used and forgotten while it is in cache.
//! The vocabulary is cut into parts, one task each, whose sums are merged in order.

mod backward;
mod collisions;
mod forward;
pub mod naive;

pub use backward::{backward_frozen, backward_trained};
pub use collisions::log_collisions;
pub use forward::forward;

use crate::Error;
use crate::error::{indices, length};
use std::ops::Range;

/// A good number of rows at a time for [`forward`] and [`backward_trained`] on a CPU.
///
/// Every chunk reads the whole output matrix once; working memory is about threads × chunk × (2·D + 256) floats.
pub const CHUNK: usize = 512;

/// Words of a tile of logits.
const BLOCK: usize = 256;

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

/// Up to `chunk` runs and the hidden states of their rows.
struct Chunk<'a> {
    /// First entries of the runs, and the end of the last.
    starts: &'a [usize],
    /// (runs, D).
    hidden: Vec<f32>,
}

impl<'a> Chunk<'a> {
    /// All chunks of `starts` (see [`runs`]) in order.
    fn all(
        starts: &'a [usize],
        chunk: usize,
        rows: &'a [u32],
        hidden: &'a [f32],
        d: usize,
    ) -> impl Iterator<Item = Chunk<'a>> {
        (0..starts.len() - 1).step_by(chunk).map(move |first| {
            let starts = &starts[first..(first + chunk + 1).min(starts.len())];
            let mut gathered = Vec::with_capacity((starts.len() - 1) * d);
            for &m in &starts[..starts.len() - 1] {
                gathered.extend_from_slice(&hidden[rows[m] as usize * d..][..d]);
            }
            Chunk {
                starts,
                hidden: gathered,
            }
        })
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The entries of run `i`.
    fn entries(&self, i: usize) -> Range<usize> {
        self.starts[i]..self.starts[i + 1]
    }
}

/// The vocabulary cut into parts of whole blocks: twice as many as workers, so that a late one does not hold up the rest.
fn parts(v: usize) -> Vec<Range<usize>> {
    let blocks = v.div_ceil(BLOCK);
    let parts = (2 * rayon::current_num_threads()).min(blocks);
    (0..parts)
        .map(|p| {
            let bound = |p: usize| (blocks * p / parts * BLOCK).min(v);
            bound(p)..bound(p + 1)
        })
        .collect()
}

/// The blocks of a part.
fn blocks(part: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = part.end;
    part.clone()
        .step_by(BLOCK)
        .map(move |first| first..(first + BLOCK).min(end))
}
