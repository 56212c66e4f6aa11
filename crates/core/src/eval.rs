//! Evaluation: the rate of desirable answers, and of wins over another model's, with 90 % intervals.

use halo_loss::diagnosis::wilson;
use serde::Serialize;
use serde_json::{Map, Value};

mod command;
pub mod verifier;

pub use command::CommandJudge;
use verifier::Verifier;

use crate::Result;

/// A prompt with an answer to judge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// The prompt's id.
    pub id: String,
    /// The prompt as the model read it.
    pub prompt: String,
    /// The answer.
    pub completion: String,
    /// The prompt's other fields, for judges that need them.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// Who decides what is desirable.
pub enum Judge {
    /// A built-in program.
    Verifier(&'static dyn Verifier),
    /// A program of the user's.
    Command(CommandJudge),
}

impl Judge {
    /// Whether each answer is desirable.
    ///
    /// # Errors
    /// An external judge that fails, or answers wrongly.
    pub fn desirable(&self, items: &[Item]) -> Result<Vec<bool>> {
        match self {
            Judge::Verifier(verifier) => Ok(items
                .iter()
                .map(|item| verifier.judge(&item.prompt, &item.completion))
                .collect()),
            Judge::Command(command) => command.desirable(items),
        }
    }

    /// How each answer of the first model fares against the second model's answer to the same prompt.
    ///
    /// # Errors
    /// As [`Judge::desirable`].
    pub fn compare(&self, ours: &[Item], theirs: &[Item]) -> Result<Vec<Outcome>> {
        match self {
            Judge::Verifier(_) => {
                let (ours, theirs) = (self.desirable(ours)?, self.desirable(theirs)?);
                Ok(ours
                    .into_iter()
                    .zip(theirs)
                    .map(|(a, b)| Outcome::of(a, b))
                    .collect())
            }
            Judge::Command(command) => command.compare(ours, theirs),
        }
    }
}

/// The result of one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The first model's answer is better.
    Win,
    /// Neither is.
    Tie,
    /// The second model's answer is better.
    Loss,
}

impl Outcome {
    fn of(ours: bool, theirs: bool) -> Outcome {
        match (ours, theirs) {
            (true, false) => Outcome::Win,
            (false, true) => Outcome::Loss,
            _ => Outcome::Tie,
        }
    }
}

/// A share of `n` with its 90 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The share, 0 to 1.
    pub rate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Of how many.
    pub n: usize,
}

/// The normal quantile of 95 %: 5 % on each side.
const Z: f64 = 1.644_853_626_951_472_2;

impl Rate {
    /// `hits` of `n`, with Wilson's score interval (1927): right also near 0 and 1. Half a hit is a tie.
    pub fn new(hits: f64, n: usize) -> Rate {
        if n == 0 {
            return Rate {
                rate: 0.0,
                low: 0.0,
                high: 1.0,
                n,
            };
        }
        let rate = hits / n as f64;
        let (low, high) = wilson(rate, n as f64, Z);
        Rate {
            rate,
            low: low.max(0.0),
            high: high.min(1.0),
            n,
        }
    }

    /// The share of `true`.
    pub fn of(hits: &[bool]) -> Rate {
        Rate::new(hits.iter().filter(|hit| **hit).count() as f64, hits.len())
    }

    /// The share of wins, ties counting half.
    pub fn of_outcomes(outcomes: &[Outcome]) -> Rate {
        let points = outcomes.iter().map(|outcome| match outcome {
            Outcome::Win => 1.0,
            Outcome::Tie => 0.5,
            Outcome::Loss => 0.0,
        });
        Rate::new(points.sum(), outcomes.len())
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} [{:.3}, {:.3}]", self.rate, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // Reference: statsmodels.stats.proportion.proportion_confint(count, n, alpha=0.1, method="wilson").
        for (hits, n, low, high) in [
            (8.0, 10, 0.540_792_805_687_488, 0.931_442_012_262_468),
            (0.0, 10, 0.0, 0.212_941_970_083_407),
            (100.0, 200, 0.442_235_043_809_469, 0.557_764_956_190_530),
        ] {
            let rate = Rate::new(hits, n);
            assert!(
                (rate.low - low).abs() < 1e-12 && (rate.high - high).abs() < 1e-12,
                "{rate:?}"
            );
        }
    }

    #[test]
    fn ties_count_half() {
        let rate = Rate::of_outcomes(&[Outcome::Win, Outcome::Tie, Outcome::Loss, Outcome::Win]);
        assert_eq!((rate.rate, rate.n), (0.625, 4));
    }
}
