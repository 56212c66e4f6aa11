//! How the entries are walked: chunks of rows, parts and blocks of the vocabulary.

use super::{BLOCK, Head};
use crate::Error;
use crate::error::{indices, length};
use crate::matmul::{Mat, MatMut, matmul_here};
use crate::shaping::Shaping;
use crate::simd::{Kernel, dispatch};
use std::ops::Range;

impl Head<'_> {
    /// Sizes common to all passes, checked once: N, D, V, M.
    pub(super) fn check(
        &self,
        op: &'static str,
        rows: &[u32],
        targets: &[u32],
        chunk: usize,
    ) -> Result<(), Error> {
        let (hidden, w, d) = (self.hidden.len(), self.w.len(), self.d);
        if d == 0 || chunk == 0 {
            return Err(Error::shape(op, "d and chunk must be at least 1"));
        }
        length(op, "hidden", hidden, hidden / d * d)?;
        length(op, "w", w, w / d * d)?;
        if let Some(bias) = self.bias {
            length(op, "bias", bias.len(), w / d)?;
        }
        length(op, "targets", targets.len(), rows.len())?;
        indices(op, "rows", rows, hidden / d)?;
        indices(op, "targets", targets, w / d)
    }

    /// The logits of a chunk for one block of words (rows, words), and the words (words, D).
    pub(super) fn tile<'s>(
        &'s self,
        chunk: &Chunk,
        block: &Range<usize>,
        scratch: &'s mut Scratch,
    ) -> Result<(&'s mut [f32], &'s [f32]), Error> {
        let (c, d, n) = (chunk.len(), self.d, block.len());
        let words = self
            .w
            .widen(block.start * d..block.end * d, &mut scratch.words);
        let tile = &mut scratch.tile[..c * n];
        let hidden = Mat::new(&chunk.hidden, c, d)?;
        let product = MatMut::new(tile, c, n)?;
        matmul_here(product, 0.0, 1.0, hidden, Mat::new(words, n, d)?.t())?;
        let bias = self.bias.map(|bias| &bias[block.clone()]);
        if bias.is_some() || self.shaping != Shaping::PLAIN {
            let shaping = &self.shaping;
            dispatch(Finish {
                tile,
                n,
                bias,
                shaping,
            });
        }
        Ok((tile, words))
    }
}

/// What a worker has at hand.
pub(super) struct Scratch {
    tile: Vec<f32>,
    words: Vec<f32>,
    /// For a product that is rounded when it is added.
    pub(super) sums: Vec<f32>,
}

impl Scratch {
    /// For chunks of so many rows.
    pub(super) fn new(rows: usize) -> Scratch {
        Scratch {
            tile: vec![0.0; rows * BLOCK],
            words: Vec::new(),
            sums: Vec::new(),
        }
    }
}

/// Products become logits.
struct Finish<'a> {
    tile: &'a mut [f32], // (rows, n)
    n: usize,
    bias: Option<&'a [f32]>, // (n)
    shaping: &'a Shaping,
}

impl Kernel for Finish<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for z in self.tile.chunks_exact_mut(self.n) {
            for (z, b) in z.iter_mut().zip(self.bias.unwrap_or_default()) {
                *z += b;
            }
            self.shaping.apply::<FMA>(z);
        }
    }
}

/// Runs of neighbouring entries with the same row: `starts[i]..starts[i + 1]`.
pub(super) fn runs(rows: &[u32]) -> Vec<usize> {
    let mut starts: Vec<usize> = (0..rows.len())
        .filter(|&m| m == 0 || rows[m] != rows[m - 1])
        .collect();
    starts.push(rows.len());
    starts
}

/// Up to `chunk` runs and the hidden states of their rows.
pub(super) struct Chunk<'a> {
    /// First entries of the runs, and the end of the last.
    pub(super) starts: &'a [usize],
    /// (runs, D).
    pub(super) hidden: Vec<f32>,
}

impl<'a> Chunk<'a> {
    /// All chunks of `starts` (see [`runs`]) in order.
    pub(super) fn all(
        starts: &'a [usize],
        chunk: usize,
        rows: &'a [u32],
        head: &'a Head<'a>,
    ) -> impl Iterator<Item = Chunk<'a>> {
        let d = head.d;
        (0..starts.len() - 1).step_by(chunk).map(move |first| {
            let starts = &starts[first..(first + chunk + 1).min(starts.len())];
            let mut gathered = vec![0.0; (starts.len() - 1) * d];
            for (to, &m) in gathered.chunks_exact_mut(d).zip(starts) {
                let row = rows[m] as usize;
                head.hidden.copy(row * d..(row + 1) * d, to);
            }
            Chunk {
                starts,
                hidden: gathered,
            }
        })
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The entries of run `i`.
    pub(super) fn entries(&self, i: usize) -> Range<usize> {
        self.starts[i]..self.starts[i + 1]
    }
}

/// The vocabulary cut into parts of whole blocks: twice as many as workers, so that a late one does not hold up the rest.
pub(super) fn parts(v: usize) -> Vec<Range<usize>> {
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
pub(super) fn blocks(part: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = part.end;
    part.clone()
        .step_by(BLOCK)
        .map(move |first| first..(first + BLOCK).min(end))
}
