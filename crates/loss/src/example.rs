//! What a loss may look at: rows of sequences, and numbers per token beside them.

use alloc::vec::Vec;

use crate::dual::Dual;

/// What a person said about a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Label {
    /// Wanted; the chosen of a pair.
    Desirable,
    /// Unwanted; the rejected of a pair.
    Undesirable,
}

impl Label {
    /// s: +1 for desirable, −1 for undesirable.
    pub fn sign(self) -> f64 {
        match self {
            Label::Desirable => 1.0,
            Label::Undesirable => -1.0,
        }
    }

    /// The other one.
    pub fn opposite(self) -> Label {
        match self {
            Label::Desirable => Label::Undesirable,
            Label::Undesirable => Label::Desirable,
        }
    }
}

/// One completion. In paired data `rows[2i]` is the chosen (`Desirable`) and `rows[2i + 1]` the rejected
/// (`Undesirable`) of pair i. What a loss does not need may stay as [`Row::default`] has it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct Row {
    /// ln π(y|x): the sum over the completion's tokens, in nats. A loss that needs [`crate::Need::Scores`] reads the
    /// reward head's score here, one that needs [`crate::Need::Errors`] the negative denoising error.
    pub logp: f64,
    /// ln π_ref(y|x), the same sum; never read by a loss that does not need the reference.
    pub ref_logp: f64,
    /// The log-probability at sampling time, the same sum; read by losses that need [`crate::Need::OldLogps`].
    pub old_logp: f64,
    /// Tokens of the completion.
    pub tokens: u32,
    /// What was said about it.
    pub label: Label,
    /// Equal for completions of one prompt.
    pub group: u32,
    /// A reward or rating that the data gives.
    pub score: f64,
    /// How much better than its group; [`crate::advantage::assign`] makes it of scores.
    pub advantage: f64,
    /// Multiplies the loss of its unit; of a pair the chosen row's counts.
    pub weight: f64,
    /// This example's β in units of the loss's; of a pair the chosen row's counts.
    pub beta_scale: f64,
    /// The reference point that it is compared with, nats; [`crate::Estimator::assign`] sets it.
    pub z0: f64,
}

impl Default for Row {
    fn default() -> Row {
        Row {
            logp: 0.0,
            ref_logp: 0.0,
            old_logp: 0.0,
            tokens: 0,
            label: Label::Desirable,
            group: 0,
            score: 0.0,
            advantage: 0.0,
            weight: 1.0,
            beta_scale: 1.0,
            z0: 0.0,
        }
    }
}

/// Numbers per completion token, flat: row after row, [`Row::tokens`] each. Empty where nobody needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tokens<'a> {
    /// ln π of each token; a row's `logp` is their sum.
    pub logps: &'a [f64],
    /// ln π_ref of each token.
    pub ref_logps: &'a [f64],
    /// ln π of each token at sampling time.
    pub old_logps: &'a [f64],
    /// ln Σ_v p_v² of the distribution that each token was drawn from: lse(2·logits) − 2·lse(logits).
    pub log_collisions: &'a [f64],
}

/// The same, owned.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct TokenColumns {
    /// See [`Tokens::logps`].
    pub logps: Vec<f64>,
    /// See [`Tokens::ref_logps`].
    pub ref_logps: Vec<f64>,
    /// See [`Tokens::old_logps`].
    pub old_logps: Vec<f64>,
    /// See [`Tokens::log_collisions`].
    pub log_collisions: Vec<f64>,
}

impl TokenColumns {
    /// Borrows them.
    pub fn view(&self) -> Tokens<'_> {
        Tokens {
            logps: &self.logps,
            ref_logps: &self.ref_logps,
            old_logps: &self.old_logps,
            log_collisions: &self.log_collisions,
        }
    }
}

/// Rows, and their tokens where the loss needs them.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The completions.
    pub rows: &'a [Row],
    /// Numbers per token.
    pub tokens: Tokens<'a>,
}

impl<'a> From<&'a [Row]> for Batch<'a> {
    fn from(rows: &'a [Row]) -> Self {
        Batch {
            rows,
            tokens: Tokens::default(),
        }
    }
}

impl<'a> From<&'a Vec<Row>> for Batch<'a> {
    fn from(rows: &'a Vec<Row>) -> Self {
        rows.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [Row; N]> for Batch<'a> {
    fn from(rows: &'a [Row; N]) -> Self {
        rows.as_slice().into()
    }
}

/// A row as a formula sees it: the log-probability carries its derivative, the rest is constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence<const N: usize> {
    pub(crate) logp: Dual<N>,
    pub(crate) ref_logp: f64,
    /// What a modifier makes of the log-ratio; the likelihood stays the answer's own.
    pub(crate) shaped: Option<Dual<N>>,
    pub(crate) old_logp: f64,
    pub(crate) tokens: f64,
    pub(crate) label: Label,
    pub(crate) score: f64,
    pub(crate) advantage: f64,
    pub(crate) beta_scale: f64,
    pub(crate) z0: f64,
}

impl<const N: usize> Sequence<N> {
    /// The row as the variable number `index` of its unit.
    #[inline]
    pub(crate) fn new(row: &Row, index: usize) -> Self {
        Sequence {
            logp: Dual::variable(row.logp, index),
            ref_logp: row.ref_logp,
            shaped: None,
            old_logp: row.old_logp,
            tokens: f64::from(row.tokens),
            label: row.label,
            score: row.score,
            advantage: row.advantage,
            beta_scale: row.beta_scale,
            z0: row.z0,
        }
    }

    /// r = ln π − ln π_ref, nats, or what a modifier makes of it.
    pub(crate) fn log_ratio(&self) -> Dual<N> {
        self.shaped.unwrap_or(self.logp - self.ref_logp)
    }

    /// a = ln π / n, nats per token.
    pub(crate) fn mean_logp(&self) -> Dual<N> {
        self.logp / self.tokens
    }

    /// r / n, nats per token.
    pub(crate) fn mean_log_ratio(&self) -> Dual<N> {
        self.log_ratio() / self.tokens
    }
}

/// A token as a formula sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) logp: Dual<1>,
    /// The same as ratios see it: under humanline, within its limits and flat outside.
    pub(crate) perceived: Dual<1>,
    pub(crate) ref_logp: f64,
    pub(crate) old_logp: f64,
    /// Of its row.
    pub(crate) advantage: f64,
}
