use super::{BLOCK, Chunk, blocks, check, parts, runs};
use crate::Error;
use crate::error::length;
use crate::exp::exp;
use crate::matmul::{Mat, MatMut, matmul_here};
use crate::parallel::{Shared, for_each_unit};
use crate::simd::{Kernel, dispatch, max, softmax_sum};
use rayon::prelude::*;
use std::ops::Range;

/// logps (M) and lse (M), in nats, from hidden (N, D) and w (V, D); for a frozen head also `stored` (M, D) =
/// W\[y\] − softmax·W, so that [`super::backward_frozen`] needs no matrix product.
///
/// Online softmax over blocks of the vocabulary; one matrix product a block, two with `stored`. At most `chunk` rows at a
/// time ([`super::CHUNK`]).
///
/// # Errors
/// A slice of another length; a row or a target outside its table.
pub fn forward(
    hidden: &[f32],
    w: &[f32],
    d: usize,
    rows: &[u32],
    targets: &[u32],
    logps: &mut [f32],
    lse: &mut [f32],
    mut stored: Option<&mut [f32]>,
    chunk: usize,
) -> Result<(), Error> {
    let op = "head::forward";
    check(op, hidden.len(), w.len(), d, rows, targets, chunk)?;
    length(op, "logps", logps.len(), rows.len())?;
    length(op, "lse", lse.len(), rows.len())?;
    if let Some(stored) = &stored {
        length(op, "stored", stored.len(), rows.len() * d)?;
    }
    let starts = runs(rows);
    for chunk in Chunk::all(&starts, chunk, rows, hidden, d) {
        let mut parts: Vec<Part> = parts(w.len() / d)
            .into_iter()
            .map(|words| Part::new(words, chunk.len(), stored.as_ref().map_or(0, |_| d)))
            .collect();
        {
            // Until the sums are merged, `logps` holds the targets' logits.
            let logits = Shared::new(logps);
            let parts = Shared::new(&mut parts);
            let units: Vec<usize> = (0..parts.len()).collect();
            for_each_unit(
                &units,
                || vec![0.0; chunk.len() * BLOCK],
                |tile, &p| {
                    // SAFETY: every unit has its own part.
                    let part = unsafe { parts.at(p) };
                    part.accumulate(&chunk, w, d, targets, &logits, tile)
                },
            )?;
        }
        merge(&chunk, &parts, logps, lse);
        if let Some(stored) = stored.as_deref_mut() {
            gradient(&chunk, &parts, lse, targets, w, d, stored);
        }
    }
    Ok(())
}

/// The softmax sums of a chunk's rows over one part of the vocabulary.
struct Part {
    words: Range<usize>,
    max: Vec<f32>, // (rows)
    sum: Vec<f64>, // (rows): Σ exp(z − max)
    acc: Vec<f32>, // (rows, D): Σ exp(z − max)·w; empty if no gradient is stored
}

impl Part {
    fn new(words: Range<usize>, rows: usize, d: usize) -> Part {
        Part {
            words,
            max: vec![f32::NEG_INFINITY; rows],
            sum: vec![0.0; rows],
            acc: vec![0.0; rows * d],
        }
    }

    fn accumulate(
        &mut self,
        chunk: &Chunk,
        w: &[f32],
        d: usize,
        targets: &[u32],
        logits: &Shared<f32>,
        tile: &mut [f32],
    ) -> Result<(), Error> {
        let c = chunk.len();
        for block in blocks(&self.words) {
            let n = block.len();
            let tile = &mut tile[..c * n];
            let words = Mat::new(&w[block.start * d..block.end * d], n, d)?;
            let hidden = Mat::new(&chunk.hidden, c, d)?;
            matmul_here(MatMut::new(tile, c, n)?, 0.0, 1.0, hidden, words.t())?;
            for (i, z) in tile.chunks_exact(n).enumerate() {
                for m in chunk.entries(i) {
                    let y = targets[m] as usize;
                    if block.contains(&y) {
                        // SAFETY: a target lies in one block of one part.
                        *unsafe { logits.at(m) } = z[y - block.start];
                    }
                }
            }
            let stored = if self.acc.is_empty() { 0 } else { d };
            dispatch(Softmax {
                tile,
                n,
                max: &mut self.max,
                sum: &mut self.sum,
                acc: &mut self.acc,
                d: stored,
            });
            if !self.acc.is_empty() {
                let acc = MatMut::new(&mut self.acc, c, d)?;
                matmul_here(acc, 1.0, 1.0, Mat::new(tile, c, n)?, words)?;
            }
        }
        Ok(())
    }
}

/// One tile of the online softmax: logits become exp(z − max), and what was accumulated is brought to the new maximum.
struct Softmax<'a> {
    tile: &'a mut [f32], // (rows, n)
    n: usize,
    max: &'a mut [f32],
    sum: &'a mut [f64],
    acc: &'a mut [f32], // (rows, d); d = 0 without gradient
    d: usize,
}

impl Kernel for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (row, z) in self.tile.chunks_exact_mut(self.n).enumerate() {
            let old = self.max[row];
            let new = old.max(max(z));
            let tile = softmax_sum::<FMA>(z, new);
            if new > old {
                let factor = exp::<FMA>(old - new);
                self.max[row] = new;
                self.sum[row] *= f64::from(factor);
                for x in &mut self.acc[row * self.d..(row + 1) * self.d] {
                    *x *= factor;
                }
            }
            self.sum[row] += f64::from(tile);
        }
    }
}

/// lse over all parts, and logps from the logits that stand in them.
fn merge(chunk: &Chunk, parts: &[Part], logps: &mut [f32], lse: &mut [f32]) {
    for i in 0..chunk.len() {
        let max = parts
            .iter()
            .fold(f32::NEG_INFINITY, |max, part| max.max(part.max[i]));
        let sum: f64 = parts
            .iter()
            .map(|part| part.sum[i] * f64::from(part.max[i] - max).exp())
            .sum();
        let total = f64::from(max) + sum.ln();
        for m in chunk.entries(i) {
            lse[m] = total as f32;
            logps[m] = (f64::from(logps[m]) - total) as f32;
        }
    }
}

/// stored = W\[y\] − softmax·W.
fn gradient(
    chunk: &Chunk,
    parts: &[Part],
    lse: &[f32],
    targets: &[u32],
    w: &[f32],
    d: usize,
    stored: &mut [f32],
) {
    let stored = Shared::new(stored);
    (0..chunk.len()).into_par_iter().for_each(|i| {
        let entries = chunk.entries(i);
        let mut mean = vec![0.0; d];
        for part in parts {
            let factor = (part.max[i] - lse[entries.start]).exp();
            for (mean, acc) in mean.iter_mut().zip(&part.acc[i * d..(i + 1) * d]) {
                *mean += factor * acc;
            }
        }
        for m in entries {
            let y = targets[m] as usize;
            // SAFETY: an entry belongs to one run.
            let u = unsafe { stored.slice(m * d..(m + 1) * d) };
            for ((u, w), mean) in u.iter_mut().zip(&w[y * d..(y + 1) * d]).zip(&mean) {
                *u = w - mean;
            }
        }
    });
}
