//! The log-probability head: hidden states and the output matrix to log-probabilities of scored tokens, without a
//! rows × vocabulary buffer; [`logits`] is the same for a host that has the logits already.
//!
//! An entry m scores token `targets[m]` by the hidden state of row `rows[m]`. Neighbouring entries of one row (the last
//! prompt token under shared prefixes) share one pass; sort entries by row to profit.
//!
//! A chunk of rows meets the vocabulary block by block: a tile of logits is made, used and forgotten while it is in cache.
//! The vocabulary is cut into parts, one task each, whose sums are merged in order.

mod backward;
mod collisions;
mod forward;
pub mod logits;
pub mod naive;
mod online;
mod walk;

pub use backward::{Grads, Seeds, backward_frozen, backward_trained};
pub use collisions::log_collisions;
pub use forward::{Scores, forward};

use crate::elements::Elements;
use crate::shaping::Shaping;

/// A good number of rows at a time on a CPU.
///
/// Every chunk reads the whole output matrix once; working memory is about threads × chunk × (2·D + 256) floats.
pub const CHUNK: usize = 512;

/// Words of a tile of logits.
const BLOCK: usize = 256;

/// Hidden states, the output matrix, and what makes logits of their products: x = h·W + b, then [`Shaping`].
///
/// Half-width numbers are widened a chunk of rows or a block of words at a time; all arithmetic is f32.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// (N, D).
    pub hidden: Elements<'a>,
    /// (V, D).
    pub w: Elements<'a>,
    /// (V); −∞ masks a word out.
    pub bias: Option<&'a [f32]>,
    /// D.
    pub d: usize,
    /// What is done to the logits.
    pub shaping: Shaping,
}

impl<'a> Head<'a> {
    /// The engine's own: hidden (N, D) and w (V, D) in f32, nothing else.
    pub fn plain(hidden: &'a [f32], w: &'a [f32], d: usize) -> Head<'a> {
        Head {
            hidden: Elements::F32(hidden),
            w: Elements::F32(w),
            bias: None,
            d,
            shaping: Shaping::PLAIN,
        }
    }
}
