//! The registry's losses in the order in which they fit a data set.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::findings::{self, Finding, Signals};
use super::proposal::{self, Proposal};
use super::{Fit, Stance, Trait};
use crate::diagnosis::Diagnosis;
use crate::error::Error;
use crate::losses::registry;
use crate::spec::{DataShape, Spec};

/// The longer answer counts as favoured when even the lower end of the interval is above this.
pub const LENGTH_BIAS: f64 = 0.6;

/// What fits a data set, why, and what to be careful of.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Advice {
    /// What the data is like.
    pub traits: Vec<Finding>,
    /// What could not be told of it.
    pub unknown: Vec<String>,
    /// What to mend before any training.
    pub warnings: Vec<String>,
    /// Every loss that says what it fits: the usable first, then by score, then as in the registry.
    pub ranking: Vec<Candidate>,
}

/// A loss, judged for a data set.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Candidate {
    /// Strengths for it less those against it. A rank, not a measurement.
    pub score: i32,
    /// Why it cannot read the data as it is.
    pub blocked: Option<String>,
    /// What speaks for it.
    pub reasons_for: Vec<&'static Fit>,
    /// What speaks against it.
    pub reasons_against: Vec<&'static Fit>,
    /// What it would leave out of the data, or have to convert.
    pub notes: Vec<String>,
    /// The loss with the parameters that the data asks for.
    pub proposal: Proposal,
}

/// Which losses fit the data, and why.
///
/// # Errors
/// A signal that is no share.
pub fn advise(data: &Diagnosis, signals: &Signals) -> Result<Advice, Error> {
    signals.check()?;
    let (traits, unknown) = findings::find(data, signals);
    let declared = registry().iter().filter(|spec| !spec.fits.is_empty());
    let mut ranking: Vec<Candidate> = declared
        .map(|spec| candidate(spec, data, signals, &traits))
        .collect();
    // stable: equals stay in the order of the registry
    ranking.sort_by_key(|candidate| (candidate.blocked.is_some(), -candidate.score));
    Ok(Advice {
        traits,
        unknown,
        warnings: warnings(data),
        ranking,
    })
}

fn candidate(
    spec: &'static Spec,
    data: &Diagnosis,
    signals: &Signals,
    traits: &[Finding],
) -> Candidate {
    let has = |data: Trait| traits.iter().any(|finding| finding.data == data);
    let of = |stance| -> Vec<&'static Fit> {
        let fits = spec.fits.iter();
        fits.filter(|fit| fit.stance == stance && has(fit.data))
            .collect()
    };
    let (reasons_for, reasons_against) = (of(Stance::For), of(Stance::Against));
    let sum = |fits: &[&Fit]| fits.iter().map(|fit| i32::from(fit.strength)).sum::<i32>();
    Candidate {
        score: sum(&reasons_for) - sum(&reasons_against),
        blocked: blocked(spec, data, signals),
        reasons_for,
        reasons_against,
        notes: notes(spec, data),
        proposal: proposal::propose(spec, data, signals, has(Trait::Imbalanced)),
    }
}

fn blocked(spec: &Spec, data: &Diagnosis, signals: &Signals) -> Option<String> {
    let counts = &data.counts;
    match spec.shape {
        _ if counts.rows == 0 => Some("there are no rows".into()),
        DataShape::Any => None,
        DataShape::Unpaired if counts.desirable == 0 || counts.undesirable == 0 => {
            Some("all rows have the same label: there is nothing to tell apart".into())
        }
        DataShape::Unpaired => None,
        DataShape::Paired if counts.pairs == 0 => Some(match counts.pairable_prompts {
            0 => "it reads pairs, and no prompt has answers with both labels to make one of".into(),
            n => format!(
                "it reads pairs, and there are none; {n} prompts have answers with both labels to make them of"
            ),
        }),
        DataShape::Paired => None,
        DataShape::Grouped if !signals.rewards => {
            Some("it reads several answers of a prompt with numeric rewards".into())
        }
        DataShape::Grouped => None,
    }
}

fn notes(spec: &Spec, data: &Diagnosis) -> Vec<String> {
    let mut notes = Vec::new();
    let (pairs, singles) = (data.counts.pairs, data.counts.singles);
    match spec.shape {
        DataShape::Paired if pairs > 0 && singles > 0 => {
            notes.push(format!("it leaves {singles} rows out that are in no pair"));
        }
        DataShape::Unpaired if pairs > 0 => {
            let both = data.contradictions.both_labels;
            notes.push(format!(
                "it takes {pairs} pairs apart into single rows; {both} completions then have both labels"
            ));
        }
        _ => {}
    }
    notes
}

fn warnings(data: &Diagnosis) -> Vec<String> {
    let mut warnings = Vec::new();
    let (counts, against) = (&data.counts, &data.contradictions);
    if counts.truncated > 0 {
        warnings.push(format!(
            "{} of {} completions are cut at the length limit ({} of them desirable, {} pairs): what was judged may be gone",
            counts.truncated, counts.rows, counts.truncated_desirable, counts.truncated_pairs
        ));
    }
    let biased = data
        .lengths
        .longer_wins
        .filter(|wins| wins.low > LENGTH_BIAS);
    if let Some(wins) = biased {
        warnings.push(format!(
            "the longer answer is chosen in {wins}: length may be learnt first; average by length, or balance the pairs"
        ));
    }
    if against.completions > 0 || against.reversed > 0 {
        warnings.push(format!(
            "{} completions have both labels and {} comparisons go both ways",
            against.completions, against.reversed
        ));
    }
    if against.identical > 0 {
        warnings.push(format!(
            "{} pairs prefer a completion to itself: leave them out",
            against.identical
        ));
    }
    if data.cycles.prompts > 0 {
        warnings.push(format!(
            "preferences of {} prompts go round in circles (such as prompt {}): no policy can follow them",
            data.cycles.prompts,
            data.cycles.example.unwrap_or_default()
        ));
    }
    let copies = data.duplicates.rows + data.duplicates.pairs;
    if copies > 0 {
        warnings.push(format!(
            "{copies} judgements repeat an earlier one: as copies they count double, and hide how often judges disagree"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
