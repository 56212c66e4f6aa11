//! What a loss may look at: rows of sequences.

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
}

/// One completion. In paired data `rows[2i]` is the chosen (`Desirable`) and `rows[2i + 1]` the rejected
/// (`Undesirable`) of pair i.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Row {
    /// ln π(y|x): the sum over the completion's tokens, in nats.
    pub logp: f64,
    /// ln π_ref(y|x), the same sum; never read by a loss that does not need the reference.
    pub ref_logp: f64,
    /// Tokens of the completion.
    pub tokens: u32,
    /// What was said about it.
    pub label: Label,
}

/// A row as a formula sees it: the log-probability carries its derivative, the rest is constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence<const N: usize> {
    pub(crate) logp: Dual<N>,
    pub(crate) ref_logp: f64,
    pub(crate) tokens: f64,
    pub(crate) label: Label,
}

impl<const N: usize> Sequence<N> {
    /// The row as the variable number `index` of its unit.
    pub(crate) fn new(row: &Row, index: usize) -> Self {
        Sequence {
            logp: Dual::variable(row.logp, index),
            ref_logp: row.ref_logp,
            tokens: f64::from(row.tokens),
            label: row.label,
        }
    }

    /// r = ln π − ln π_ref, nats.
    pub(crate) fn log_ratio(&self) -> Dual<N> {
        self.logp - self.ref_logp
    }

    /// a = ln π / n, nats per token.
    pub(crate) fn mean_logp(&self) -> Dual<N> {
        self.logp / self.tokens
    }
}
