//! Which loss fits which data, and why: every loss says it of itself, here stand the words to say it in, and [`advise`], which
//! finds them in a [`crate::diagnosis::Diagnosis`] and ranks the registry. Never a bare verdict: what was found comes with its
//! numbers, every score with its reasons, and what counts cannot show is named as unknown.

mod findings;
mod proposal;
mod ranking;

pub use findings::{
    ABUNDANT_PAIRS, FEW_CONTRADICTIONS, Finding, NEAR_EQUAL, NOISY, SCARCE_PAIRS, Signals,
};
pub use proposal::{Proposal, TARGET};
pub use ranking::{Advice, Candidate, LENGTH_BIAS, advise};

/// What data can be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Trait {
    /// Judgements of single answers: thumbs up, thumbs down, or a weak signal turned into them.
    Binary,
    /// Comparisons of two answers to one prompt.
    Pairs,
    /// One label is much rarer than the other.
    Imbalanced,
    /// Few pairs.
    ScarcePairs,
    /// Labels contradict each other, or are often wrong.
    Noisy,
    /// Many pairs with few contradictions.
    AbundantCleanPairs,
    /// Both answers are good or the difference is small: edge cases are what matters.
    FineComparisons,
    /// Answers worth imitating, without judgements.
    Demonstrations,
    /// Several answers of one prompt with numeric rewards.
    Rewards,
}

/// For or against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Stance {
    /// Speaks for the loss.
    For,
    /// Speaks against it.
    Against,
}

/// One reason for or against a loss.
#[derive(Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Fit {
    /// If the data is like this.
    pub data: Trait,
    /// For or against.
    pub stance: Stance,
    /// How strongly, 1 to 3.
    pub strength: u8,
    /// Why, in a sentence.
    pub reason: &'static str,
}

/// What every loss of pairs can say for itself.
pub(crate) const HAS_PAIRS: Fit = Fit {
    data: Trait::Pairs,
    stance: Stance::For,
    strength: 1,
    reason: "the data is pairs already",
};

/// What every loss of pairs must say against itself.
pub(crate) const NEEDS_PAIRS: Fit = Fit {
    data: Trait::Binary,
    stance: Stance::Against,
    strength: 3,
    reason: "it needs two answers to one prompt",
};

/// What every policy gradient must say of pairs.
pub(crate) const FORGETS_COMPARISONS: Fit = Fit {
    data: Trait::Pairs,
    stance: Stance::Against,
    strength: 2,
    reason: "it reads rewards of single answers: which was compared with which is lost",
};

/// What every policy gradient must say of demonstrations.
pub(crate) const NEEDS_REWARDS: Fit = Fit {
    data: Trait::Demonstrations,
    stance: Stance::Against,
    strength: 3,
    reason: "without rewards there is nothing to compare",
};
