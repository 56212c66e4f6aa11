//! Which loss fits which data, and why: every loss says it of itself, here stand the words to say it in.

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
