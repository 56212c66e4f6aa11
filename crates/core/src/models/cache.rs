//! Decoding: keys and values of what was read, and the next token's logits.

use super::decoder::Decoder;
use super::view::View;
use crate::ops::kv_cache::KvCache;
use crate::ops::{Indices, embedding, rope};
use crate::{Error, Result};

/// Keys and values of R sequences, every block's: what decoding reads instead of computing again.
pub struct Cache {
    blocks: Vec<KvCache>,
    lengths: Vec<usize>,
    /// Covers every position so far, and more: it is made anew only when it is outgrown.
    rope: rope::Table,
}

impl Cache {
    /// Forgets all sequences but these, in the given order.
    pub fn keep(&mut self, sequences: &[usize]) {
        for block in &mut self.blocks {
            block.keep(sequences);
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
        let (view, rows) = View::of_prompts(prompts, &self.config, &self.device())?;
        let mut x = self.embed(&view.ids)?;
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (y, _) = block.run(x, &view.positions, &view.rope, |heads| {
                blocks.push(KvCache::of_rows(&heads.k, &heads.v, &rows)?);
                Ok(block.attend(heads, &view)?.0)
            })?;
            x = y;
        }
        let last = rows.iter().map(|rows| rows.end as u32 - 1).collect();
        let last = Indices::new(&self.device(), last)?;
        let logits = self.head.logits(&embedding::forward(&last, &x)?)?;
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
            cache.rope = rope::Table::new(&self.device(), &self.config.inv_freq, 2 * longest)?;
        }
        let positions = Indices::new(&self.device(), positions)?;
        let mut x = self.embed(&Indices::new(&self.device(), tokens.to_vec())?)?;
        for (block, cached) in self.blocks.iter().zip(&mut cache.blocks) {
            x = block
                .run(x, &positions, &cache.rope, |heads| {
                    let (window, shape) = (block.window, &block.shape);
                    let tokens = [&heads.q, &heads.k, &heads.v];
                    cached.attend(tokens, &positions, window, shape)
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
        let (view, _) = View::of_prompts(&[ids], &self.config, &self.device())?;
        let mut x = self.embed(&view.ids)?;
        for block in &self.blocks {
            x = block.forward(x, &view, false)?.0;
        }
        self.head.logits(&x)
    }
}
