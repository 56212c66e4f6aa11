//! Attention over the segments of a pack: causal inside a segment, every ancestor in full, no padding and no mask tensor.
//!
//! Grouped queries: query head h reads key/value head h / (H/K). Positions decide what a sliding window hides.

mod backward;
mod cached;
mod forward;
pub mod naive;
mod plan;
mod tile;

pub use backward::backward;
pub use cached::{Cache, cached};
pub use forward::forward;

use crate::Error;
use crate::error::length;
use std::ops::Range;

/// A run of rows of the pack and what it attends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seg {
    /// Rows of this segment; may be empty.
    pub rows: Range<usize>,
    /// Position of its first row.
    pub pos0: usize,
    /// Segments whose keys it reads: its ancestors, root first, then itself.
    pub kv: Vec<usize>,
    /// Segments of different trees never read each other.
    pub tree: usize,
}

/// The segments of a pack. They tile the rows 0..[`Layout::rows`] in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// In the order of their rows.
    pub segments: Vec<Seg>,
    /// A query at position p sees the positions above p − window; all earlier ones if none.
    pub window: Option<usize>,
}

impl Layout {
    /// Rows covered by the segments.
    pub fn rows(&self) -> usize {
        self.segments.last().map_or(0, |s| s.rows.end)
    }

    pub(crate) fn check(&self, op: &'static str) -> Result<(), Error> {
        let mut end = 0;
        for (s, seg) in self.segments.iter().enumerate() {
            let fail = |reason| Err(Error::layout(op, s, reason));
            if seg.rows.start != end || seg.rows.end < end {
                return fail("its rows do not follow those of the segment before");
            }
            end = seg.rows.end;
            let Some((&own, ancestors)) = seg.kv.split_last() else {
                return fail("its list of keys is empty");
            };
            if own != s {
                return fail("its list of keys does not end with itself");
            }
            let mut position = 0;
            for &a in ancestors {
                let Some(ancestor) = self.segments.get(a) else {
                    return fail("an ancestor does not exist");
                };
                if ancestor.tree != seg.tree {
                    return fail("an ancestor belongs to another tree");
                }
                if ancestor.pos0 < position {
                    return fail("its ancestors are not in the order of their positions");
                }
                position = ancestor.pos0 + ancestor.rows.len();
            }
            if seg.pos0 < position {
                return fail("an ancestor's positions are not all before its own");
            }
        }
        if self.window == Some(0) {
            return Err(Error::shape(op, "a window of 0 hides every key"));
        }
        Ok(())
    }
}

/// Heads and scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// H.
    pub heads: usize,
    /// K; divides H.
    pub kv_heads: usize,
    /// E.
    pub head_dim: usize,
    /// Factor of the scores, usually 1/√E.
    pub scale: f32,
}

impl Shape {
    /// Elements of a query row, H·E.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Elements of a key row, K·E.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Query heads that share a key/value head, H/K.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    pub(crate) fn check(&self, op: &'static str) -> Result<(), Error> {
        if self.heads == 0 || self.head_dim == 0 {
            return Err(Error::shape(op, "heads and head_dim must be at least 1"));
        }
        if self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::shape(op, "kv_heads does not divide heads"));
        }
        Ok(())
    }
}

/// Checks that `q`-like and `kv`-like slices hold `rows` rows or more, and cuts nothing.
pub(crate) fn at_least(
    op: &'static str,
    argument: &'static str,
    given: usize,
    needed: usize,
) -> Result<(), Error> {
    length(op, argument, given.min(needed), needed)
}
