//! A step's sequences as one flat list of rows, without padding and with shared prefixes.
//!
//! A **pack** is a forest of token tries flattened into rows. A node is a *segment*: a run of tokens with one parent.
//! A prompt is computed once for its completion y, for the mismatched y′ of a reference point and for sibling
//! completions. Gradient segments stand first, so that `rows[0..grad_rows]` is the leading part of every buffer and
//! backward never sees the rest.
//!
//! Letters: N rows (tokens) of the pack, M scored entries, R sequences.

mod rows;
mod trie;

use std::ops::Range;

/// One sequence to score: the log-probability of `completion` after `prompt`.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// Context tokens, never scored. May be empty: then the completion's first token is context and is not scored.
    pub prompt: &'a [u32],
    /// The scored tokens, end-of-sequence token included where there is one.
    pub completion: &'a [u32],
    /// Whether the log-probability is differentiated. Mismatched y′ never are.
    pub grad: bool,
}

/// A run of rows with one parent: its rows see the rows of all its ancestors, and themselves causally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Rows of the pack, in token order; never empty.
    pub rows: Range<u32>,
    /// The segment whose last row precedes this one's first, an earlier index; none for a root.
    pub parent: Option<u32>,
    /// Position of the first row: the parent's first position plus the parent's length.
    pub pos0: u32,
    /// Whether a scored entry with gradient stands here or below.
    pub grad: bool,
}

/// One scored token: the hidden state of `row` predicts `target` for sequence `seq`.
///
/// The last row of a prompt predicts the first token of every branch, so one row may stand in several scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// The predicting row.
    pub row: u32,
    /// The token predicted.
    pub target: u32,
    /// The sequence, an index into what [`Pack::build`] was given.
    pub seq: u32,
}

/// dL/dlogp of a pack's sequences.
#[derive(Clone, Debug, PartialEq)]
pub enum Gradient {
    /// One number a sequence, which all its tokens receive (R).
    Sequences(Vec<f64>),
    /// One a scored token, sequence after sequence (M).
    Tokens(Vec<f64>),
}

impl Gradient {
    /// Whether it is 0 everywhere.
    pub fn is_zero(&self) -> bool {
        let (Gradient::Sequences(slopes) | Gradient::Tokens(slopes)) = self;
        slopes.iter().all(|slope| *slope == 0.0)
    }
}

/// The rows of a forward pass, and what is scored on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pack {
    /// (N) token of each row.
    pub tokens: Vec<u32>,
    /// (N) position of each row; siblings overlap.
    pub positions: Vec<u32>,
    /// In row order: gradient segments first, parents before children.
    pub segments: Vec<Segment>,
    /// For each segment what it attends to: its ancestors from the root on, then itself. `kv[s][0]` names the tree.
    pub kv: Vec<Vec<u32>>,
    /// For each segment the gradient segments that attend to it (the inverse of `kv`); empty without gradient.
    pub readers: Vec<Vec<u32>>,
    /// Rows `0..grad_rows` are all that backward needs.
    pub grad_rows: u32,
    /// (M) entries of sequences with gradient first, each part sorted by row.
    pub scores: Vec<Score>,
    /// Scores `0..grad_scores` belong to sequences with gradient.
    pub grad_scores: u32,
    /// R, sequences without any scored token included.
    pub sequences: u32,
}

impl Pack {
    /// Lays `sequences` out as rows, with shared prompts, or with `share` off each sequence as a tree of its own.
    ///
    /// Equal prompts always share; different prompts share their common beginning where it has at least
    /// [`MIN_SHARED`] tokens. The last token of a completion predicts nothing and gets no row. Completions are never
    /// merged. `share = false` is the oracle of tests: one segment per sequence, same scores.
    pub fn build(sequences: &[Sequence], share: bool) -> Pack {
        let forest = if share {
            trie::shared(sequences)
        } else {
            trie::separate(sequences)
        };
        rows::flatten(sequences, &forest)
    }

    /// N, the number of rows.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Log-probabilities of the scored tokens (M), in nats → of the sequences (R), summed in f64 in score order.
    ///
    /// A sequence without scored tokens gets 0.
    pub fn sum_logps(&self, per_score: &[f32]) -> Vec<f64> {
        debug_assert_eq!(
            per_score.len(),
            self.scores.len(),
            "one log-probability per score"
        );
        let mut sums = vec![0.0; self.sequences as usize];
        for (score, &logp) in self.scores.iter().zip(per_score) {
            sums[score.seq as usize] += f64::from(logp);
        }
        sums
    }

    /// Numbers of the scored tokens (M) → the same in the order of the sequences, each sequence's tokens in turn (M).
    pub fn by_sequence(&self, per_score: &[f32]) -> Vec<f64> {
        let mut next = self.starts();
        let mut ordered = vec![0.0; per_score.len()];
        for (score, &number) in self.scores.iter().zip(per_score) {
            let at = &mut next[score.seq as usize];
            ordered[*at] = f64::from(number);
            *at += 1;
        }
        ordered
    }

    /// The adjoint of [`Pack::sum_logps`]: dL/dlogp of the sequences (R), or of their tokens in turn (M) → of the first
    /// `grad_scores` scores.
    ///
    /// A sequence that the gradient is too short for yields NaN, which no run overlooks.
    pub fn spread(&self, dlogps: &Gradient) -> Vec<f32> {
        let mut next = self.starts();
        let of = |score: &Score| {
            let sequence = score.seq as usize;
            let slope = match dlogps {
                Gradient::Sequences(slopes) => slopes.get(sequence),
                Gradient::Tokens(slopes) => {
                    next[sequence] += 1;
                    slopes.get(next[sequence] - 1)
                }
            };
            slope.map_or(f32::NAN, |&slope| slope as f32)
        };
        let graded = &self.scores[..self.grad_scores as usize];
        graded.iter().map(of).collect()
    }

    /// Where each sequence's tokens begin in the order of the sequences (R).
    fn starts(&self) -> Vec<usize> {
        let mut end = 0;
        let start = |count| {
            let start = end;
            end += count as usize;
            start
        };
        self.scored_tokens().into_iter().map(start).collect()
    }

    /// How many tokens of each sequence are scored (R).
    pub fn scored_tokens(&self) -> Vec<u32> {
        let mut counts = vec![0; self.sequences as usize];
        for score in &self.scores {
            counts[score.seq as usize] += 1;
        }
        counts
    }
}

/// Different prompts share a beginning of at least this many tokens: each segment costs a tile boundary in attention.
pub const MIN_SHARED: usize = 16;
