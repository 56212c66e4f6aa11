use super::Head;
use super::online::{Softmax, merge};
use super::walk::{Chunk, Scratch, blocks, parts, runs};
use crate::Error;
use crate::error::length;
use crate::matmul::{Mat, MatMut, matmul_here};
use crate::parallel::{Shared, for_each_unit};
use crate::shaping::Shaping;
use crate::simd::dispatch;
use rayon::prelude::*;
use std::ops::Range;

/// Where [`Head::forward`] writes, in nats.
#[derive(Debug)]
pub struct Scores<'a> {
    /// (M).
    pub logps: &'a mut [f32],
    /// (M): the log-sum-exp, which backward needs.
    pub lse: &'a mut [f32],
    /// (M): −Σ p·ln p over the vocabulary.
    pub entropy: Option<&'a mut [f32]>,
    /// (M, D): the gradient of each log-probability by its hidden state, so that [`super::backward_frozen`] needs no matrix product.
    pub stored: Option<&'a mut [f32]>,
}

/// logps (M) and lse (M), in nats, from hidden (N, D) and w (V, D); for a frozen head also `stored` (M, D) =
/// W\[y\] − softmax·W, so that [`super::backward_frozen`] needs no matrix product.
///
/// At most `chunk` rows at a time ([`super::CHUNK`]).
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
    stored: Option<&mut [f32]>,
    chunk: usize,
) -> Result<(), Error> {
    let scores = Scores {
        logps,
        lse,
        entropy: None,
        stored,
    };
    Head::plain(hidden, w, d).forward(rows, targets, scores, chunk)
}

impl Head<'_> {
    /// Scores the entries (`rows`, `targets`).
    ///
    /// Online softmax over blocks of the vocabulary; one matrix product a block, two with `stored`. At most `chunk` rows at a
    /// time ([`super::CHUNK`]).
    ///
    /// # Errors
    /// A slice of another length; a row or a target outside its table.
    pub fn forward(
        &self,
        rows: &[u32],
        targets: &[u32],
        scores: Scores,
        chunk: usize,
    ) -> Result<(), Error> {
        let op = "head::forward";
        self.check(op, rows, targets, chunk)?;
        let mut scores = scores;
        length(op, "logps", scores.logps.len(), rows.len())?;
        length(op, "lse", scores.lse.len(), rows.len())?;
        if let Some(entropy) = &scores.entropy {
            length(op, "entropy", entropy.len(), rows.len())?;
        }
        if let Some(stored) = &scores.stored {
            length(op, "stored", stored.len(), rows.len() * self.d)?;
        }
        let starts = runs(rows);
        for chunk in Chunk::all(&starts, chunk, rows, self) {
            let parts = self.accumulate(&chunk, targets, &mut scores)?;
            for i in 0..chunk.len() {
                let sums = parts.iter().map(|part| part.sums(i));
                let (total, entropy) = merge(sums);
                for m in chunk.entries(i) {
                    scores.lse[m] = total as f32;
                    scores.logps[m] = (f64::from(scores.logps[m]) - total) as f32;
                    if let Some(out) = scores.entropy.as_deref_mut() {
                        out[m] = entropy as f32;
                    }
                }
            }
            self.gradient(&chunk, &parts, targets, &mut scores);
        }
        Ok(())
    }

    /// The sums of all parts of the vocabulary; the scores' logps become the targets' logits.
    fn accumulate(
        &self,
        chunk: &Chunk,
        targets: &[u32],
        scores: &mut Scores,
    ) -> Result<Vec<Part>, Error> {
        let moments = scores.entropy.as_ref().map_or(0, |_| chunk.len());
        let d = scores.stored.as_ref().map_or(0, |_| self.d);
        let mut parts: Vec<Part> = parts(self.w.len() / self.d)
            .into_iter()
            .map(|words| Part::new(words, chunk.len(), moments, d))
            .collect();
        let units: Vec<usize> = (0..parts.len()).collect();
        {
            let (logits, parts) = (Shared::new(scores.logps), Shared::new(&mut parts));
            for_each_unit(
                &units,
                || Scratch::new(chunk.len()),
                |scratch, &p| {
                    // SAFETY: every unit has its own part.
                    let part = unsafe { parts.at(p) };
                    part.accumulate(self, chunk, targets, &logits, scratch)
                },
            )?;
        }
        Ok(parts)
    }

    /// stored = dz/dx·W\[y\] − Σ p·dz/dx·W.
    fn gradient(&self, chunk: &Chunk, parts: &[Part], targets: &[u32], scores: &mut Scores) {
        let Some(stored) = scores.stored.as_deref_mut() else {
            return;
        };
        let (lse, logps, d) = (&*scores.lse, &*scores.logps, self.d);
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
                self.w.copy(y * d..(y + 1) * d, u);
                let slope = self.shaping.slope(logps[m] + lse[m]);
                for (u, mean) in u.iter_mut().zip(&mean) {
                    *u = slope * *u - mean;
                }
            }
        });
    }
}

/// The softmax sums of a chunk's rows over one part of the vocabulary.
struct Part {
    words: Range<usize>,
    max: Vec<f32>,    // (rows)
    sum: Vec<f64>,    // (rows): Σ exp(z − max)
    moment: Vec<f64>, // (rows): Σ exp(z − max)·(z − max); empty if no entropy is asked for
    acc: Vec<f32>,    // (rows, D): Σ exp(z − max)·dz/dx·w; empty if no gradient is stored
}

impl Part {
    fn new(words: Range<usize>, rows: usize, moments: usize, d: usize) -> Part {
        Part {
            words,
            max: vec![f32::NEG_INFINITY; rows],
            sum: vec![0.0; rows],
            moment: vec![0.0; moments],
            acc: vec![0.0; rows * d],
        }
    }

    fn sums(&self, row: usize) -> (f32, f64, f64) {
        let moment = self.moment.get(row).copied().unwrap_or(0.0);
        (self.max[row], self.sum[row], moment)
    }

    fn accumulate(
        &mut self,
        head: &Head,
        chunk: &Chunk,
        targets: &[u32],
        logits: &Shared<f32>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let (c, stored) = (chunk.len(), !self.acc.is_empty());
        for block in blocks(&self.words) {
            let n = block.len();
            let (tile, words) = head.tile(chunk, &block, scratch)?;
            for (i, z) in tile.chunks_exact(n).enumerate() {
                for m in chunk.entries(i) {
                    let y = targets[m] as usize;
                    if block.contains(&y) {
                        // SAFETY: a target lies in one block of one part.
                        *unsafe { logits.at(m) } = z[y - block.start];
                    }
                }
            }
            let shaped = stored && head.shaping != Shaping::PLAIN;
            dispatch(Softmax {
                tile,
                n,
                max: &mut self.max,
                sum: &mut self.sum,
                moment: &mut self.moment,
                acc: &mut self.acc,
                d: if stored { head.d } else { 0 },
                slope: shaped.then_some(&head.shaping),
            });
            if stored {
                let words = Mat::new(words, n, head.d)?;
                let acc = MatMut::new(&mut self.acc, c, head.d)?;
                matmul_here(acc, 1.0, 1.0, Mat::new(tile, c, n)?, words)?;
            }
        }
        Ok(())
    }
}
