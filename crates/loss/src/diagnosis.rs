//! What a data set is, from plain numbers: who was judged how, in which pairs, how long, how consistently.
//!
//! No text is read: equal prompts and equal completions come as equal ids. What counts cannot show (whether pairs compare
//! near-equals, whether labels are indirect) is not guessed here; [`crate::advice`] takes it as a signal of its own.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use crate::error::Error;
use crate::example::Label;

mod agreement;
mod cycles;
mod interval;
mod lengths;

pub use agreement::{Contradictions, Duplicates, Noise};
pub use cycles::Cycles;
pub use interval::{CONFIDENCE, Share, wilson};
pub use lengths::{Lengths, NEAR};

/// One judgement of one completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Judged {
    /// Equal for equal prompts.
    pub prompt: u64,
    /// Equal for equal completions.
    pub completion: u64,
    /// What was said.
    pub label: Label,
    /// Tokens of the completion.
    pub tokens: u32,
    /// The pair it is one half of; `None`: it was judged for itself.
    pub pair: Option<u32>,
    /// Whether the completion was cut at the length limit.
    pub truncated: bool,
}

/// What a data set is.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Diagnosis {
    /// How many of what.
    pub counts: Counts,
    /// Judgements that say again what was said.
    pub duplicates: Duplicates,
    /// Judgements that say the opposite.
    pub contradictions: Contradictions,
    /// Preferences that go round in circles.
    pub cycles: Cycles,
    /// What length has to do with the labels.
    pub lengths: Lengths,
    /// At least this share of the labels is wrong; `None` where nothing was judged twice.
    pub noise: Option<Noise>,
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counts {
    /// Rows: judgements of one completion, two of each pair.
    pub rows: u64,
    /// Different prompts.
    pub prompts: u64,
    /// Different completions, those of different prompts apart.
    pub completions: u64,
    /// Pairs.
    pub pairs: u64,
    /// Rows judged for themselves.
    pub singles: u64,
    /// Desirable rows, the chosen of pairs among them.
    pub desirable: u64,
    /// Undesirable rows, the rejected of pairs among them.
    pub undesirable: u64,
    /// n_D / n_U; `None` without undesirable rows.
    pub ratio: Option<f64>,
    /// The rarer label's share of rows, 0 to 0.5: 0.5 is balanced; `None` without rows.
    pub balance: Option<f64>,
    /// Prompts with more than one completion.
    pub prompts_with_siblings: u64,
    /// Prompts whose singly judged completions have both labels, so that pairs could be made of them.
    pub pairable_prompts: u64,
    /// Rows whose completion was cut at the length limit.
    pub truncated: u64,
    /// The desirable ones of them.
    pub truncated_desirable: u64,
    /// Pairs with a completion that was cut: what the comparison was about may be gone.
    pub truncated_pairs: u64,
}

/// A pair: (chosen, rejected).
type Pair<'a> = (&'a Judged, &'a Judged);

/// Looks at a data set. No rows are fine.
///
/// # Errors
/// A pair that is not one desirable and one undesirable completion of one prompt, by row.
pub fn diagnose(rows: &[Judged]) -> Result<Diagnosis, Error> {
    let pairs = pairs(rows)?;
    let singles: Vec<&Judged> = rows.iter().filter(|row| row.pair.is_none()).collect();
    let repeated = agreement::Repeated::new(&singles, &pairs);
    Ok(Diagnosis {
        counts: count(rows, &singles, &pairs),
        duplicates: repeated.duplicates(),
        contradictions: repeated.contradictions(rows),
        cycles: cycles::find(&pairs),
        lengths: lengths::measure(rows, &pairs),
        noise: repeated.noise(),
    })
}

fn pairs(rows: &[Judged]) -> Result<Vec<Pair<'_>>, Error> {
    let mut halves: BTreeMap<u32, (Option<&Judged>, Option<&Judged>, usize)> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let Some(pair) = row.pair else { continue };
        let (chosen, rejected, last) = halves.entry(pair).or_insert((None, None, index));
        let place = match row.label {
            Label::Desirable => chosen,
            Label::Undesirable => rejected,
        };
        if place.replace(row).is_some() {
            let half = match row.label {
                Label::Desirable => "chosen (desirable)",
                Label::Undesirable => "rejected (undesirable)",
            };
            let message = format!("pair {pair} already has a {half} completion");
            return Err(Error::at_row("pair", index, message));
        }
        *last = index;
    }
    let mut pairs = Vec::with_capacity(halves.len());
    for (pair, (chosen, rejected, index)) in halves {
        let missing = if chosen.is_some() {
            "rejected"
        } else {
            "chosen"
        };
        let (Some(chosen), Some(rejected)) = (chosen, rejected) else {
            let message = format!("pair {pair} has no {missing} completion");
            return Err(Error::at_row("pair", index, message));
        };
        if chosen.prompt != rejected.prompt {
            let (one, other) = (chosen.prompt, rejected.prompt);
            let message = format!("pair {pair} compares completions of prompts {one} and {other}");
            return Err(Error::at_row("pair", index, message));
        }
        pairs.push((chosen, rejected));
    }
    Ok(pairs)
}

impl Judged {
    fn answer(&self) -> (u64, u64) {
        (self.prompt, self.completion)
    }
}

fn count(rows: &[Judged], singles: &[&Judged], pairs: &[Pair]) -> Counts {
    let answers: BTreeSet<(u64, u64)> = rows.iter().map(Judged::answer).collect();
    let mut siblings: BTreeMap<u64, u64> = BTreeMap::new();
    for (prompt, _) in &answers {
        *siblings.entry(*prompt).or_default() += 1;
    }
    let of = |label| move |row: &&Judged| row.label == label;
    let prompts_of = |label| -> BTreeSet<u64> {
        let rows = singles.iter().copied().filter(of(label));
        rows.map(|row| row.prompt).collect()
    };
    let (good, bad) = (prompts_of(Label::Desirable), prompts_of(Label::Undesirable));
    let desirable = rows.iter().filter(of(Label::Desirable)).count() as u64;
    let undesirable = rows.len() as u64 - desirable;
    let rarer = if desirable < undesirable {
        desirable
    } else {
        undesirable
    };
    let cut = || rows.iter().filter(|row| row.truncated);
    Counts {
        rows: rows.len() as u64,
        prompts: siblings.len() as u64,
        completions: answers.len() as u64,
        pairs: pairs.len() as u64,
        singles: singles.len() as u64,
        desirable,
        undesirable,
        ratio: (undesirable > 0).then(|| desirable as f64 / undesirable as f64),
        balance: (!rows.is_empty()).then(|| rarer as f64 / rows.len() as f64),
        prompts_with_siblings: siblings.values().filter(|n| **n > 1).count() as u64,
        pairable_prompts: good.intersection(&bad).count() as u64,
        truncated: cut().count() as u64,
        truncated_desirable: cut().filter(of(Label::Desirable)).count() as u64,
        truncated_pairs: pairs
            .iter()
            .filter(|(w, l)| w.truncated || l.truncated)
            .count() as u64,
    }
}

#[cfg(test)]
mod tests;
