//! Decoding: keys and values of what was read, and the next token's logits.

use std::ops::Range;

use halo_kernels::attention;
use halo_kernels::rope::RopeTable;

use super::block::Block;
use super::decoder::Decoder;
use super::rows::chosen_rows;
use super::view::View;
use crate::{Error, Result};

/// Keys and values of R sequences, every block's: what decoding reads instead of computing again.
pub struct Cache {
    /// Per block and sequence: keys after rope and values, (length, K·E) each.
    blocks: Vec<Vec<(Vec<f32>, Vec<f32>)>>,
    lengths: Vec<usize>,
    /// Covers every position so far, and more: it is made anew only when it is outgrown.
    rope: RopeTable,
}

impl Cache {
    /// Forgets all sequences but these, in the given order.
    pub fn keep(&mut self, sequences: &[usize]) {
        for block in &mut self.blocks {
            *block = sequences
                .iter()
                .map(|&s| std::mem::take(&mut block[s]))
                .collect();
        }
        self.lengths = sequences.iter().map(|&s| self.lengths[s]).collect();
    }
}

impl Decoder {
    /// Reads whole prompts: the logits of each one's next token (R, V), and the cache to go on from.
    ///
    /// # Errors
    /// An empty prompt, or a token outside the vocabulary.
    pub fn prefill(&self, prompts: &[&[u32]]) -> Result<(Vec<f32>, Cache)> {
        if let Some(empty) = prompts.iter().position(|prompt| prompt.is_empty()) {
            return Err(Error::data(format!(
                "prompt {empty} is empty: there is nothing to continue"
            )));
        }
        let (view, rows) = View::of_prompts(prompts, &self.config);
        let mut x = self.embed(&view.ids)?;
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let mut kept = Vec::with_capacity(rows.len());
            let (y, _) = block.run(x, &view.positions, &view.rope, |q, k, v| {
                let width = block.shape.kv_width();
                let cut = |t: &[f32], rows: &Range<usize>| {
                    t[rows.start * width..rows.end * width].to_vec()
                };
                kept.extend(rows.iter().map(|rows| (cut(k, rows), cut(v, rows))));
                Ok(block.attend(q, k, v, &view)?.0)
            })?;
            blocks.push(kept);
            x = y;
        }
        let last: Vec<usize> = rows.iter().map(|rows| rows.end - 1).collect();
        let logits = self.head.logits(&chosen_rows(&x, &last)?)?;
        let lengths = prompts.iter().map(|prompt| prompt.len()).collect();
        let rope = view.rope;
        let cache = Cache {
            blocks,
            lengths,
            rope,
        };
        Ok((logits, cache))
    }

    /// Appends one token to every sequence of the cache: the logits of the next (R, V).
    ///
    /// # Errors
    /// Another number of tokens than sequences, or a token outside the vocabulary.
    pub fn step(&self, tokens: &[u32], cache: &mut Cache) -> Result<Vec<f32>> {
        if tokens.len() != cache.lengths.len() {
            return Err(Error::internal(format!(
                "{} tokens for {} sequences",
                tokens.len(),
                cache.lengths.len()
            )));
        }
        let positions: Vec<u32> = cache.lengths.iter().map(|&length| length as u32).collect();
        let longest = cache.lengths.iter().max().map_or(0, |length| length + 1);
        if longest > cache.rope.positions() {
            cache.rope = RopeTable::new(&self.config.inv_freq, 2 * longest);
        }
        let mut x = self.embed(tokens)?;
        for (block, cached) in self.blocks.iter().zip(&mut cache.blocks) {
            x = block
                .run(x, &positions, &cache.rope, |q, k, v| {
                    attend(block, q, k, v, cached)
                })?
                .0;
        }
        cache.lengths.iter_mut().for_each(|length| *length += 1);
        self.head.logits(&x)
    }

    /// Logits at every position of one sequence, (T, V): for inspection and tests, not for training.
    ///
    /// # Errors
    /// As [`Decoder::prefill`].
    pub fn logits(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let (view, _) = View::of_prompts(&[ids], &self.config);
        let mut x = self.embed(ids)?;
        for block in &self.blocks {
            x = block.forward(x, &view, false)?.0;
        }
        self.head.logits(&x)
    }
}

/// Appends each sequence's new key and value, then lets its query see all.
fn attend(
    block: &Block,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    cached: &mut [(Vec<f32>, Vec<f32>)],
) -> Result<Vec<f32>> {
    let width = block.shape.kv_width();
    for (sequence, (keys, values)) in cached.iter_mut().enumerate() {
        keys.extend_from_slice(&k[sequence * width..][..width]);
        values.extend_from_slice(&v[sequence * width..][..width]);
    }
    let caches: Vec<_> = cached
        .iter()
        .map(|(k, v)| attention::Cache { k, v })
        .collect();
    let mut o = vec![0f32; q.len()];
    attention::cached(q, &caches, &mut o, block.window, &block.shape)?;
    Ok(o)
}
