//! What the data is like, with the numbers that say so.
//!
//! The thresholds are this project's: no paper gives any. Each stands beside its reason, and its number is in the evidence,
//! so that whoever disagrees sees by how much.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Trait;
use crate::diagnosis::{Diagnosis, Share};
use crate::error::Error;
use crate::weighting::TARGETS;

/// Fewer pairs are scarce: a tenth of them held out, 100, measures an accuracy only to ± 10 points.
pub const SCARCE_PAIRS: u64 = 1_000;

/// As many pairs are abundant: the order of the smaller public sets that DPO is trained on, one epoch without learning by heart.
pub const ABUNDANT_PAIRS: u64 = 10_000;

/// From this share of labels proven wrong, or of prompts with a cycle, data counts as noisy: a loss that never gives up is then
/// pulled by one row in twenty for good.
pub const NOISY: f64 = 0.05;

/// Fewer contradictions than this are accidents, whatever their share.
pub const FEW_CONTRADICTIONS: u64 = 3;

/// From this share of near-equal pairs on, most comparisons are fine ones.
pub const NEAR_EQUAL: f64 = 0.5;

/// What the caller knows and counts cannot show.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct Signals {
    /// Labels were made of an indirect signal: clicks, purchases, the absence of a complaint.
    pub weak: bool,
    /// Whether pairs compare answers that are both good, or nearly the same.
    pub fine_comparisons: Option<bool>,
    /// The measured share of pairs whose two answers are nearly the same, by overlap of text or otherwise.
    pub near_equal: Option<f64>,
    /// The share of labels known to be wrong, from a check or from judges who disagree.
    pub noise: Option<f64>,
    /// Completions carry numeric rewards.
    pub rewards: bool,
    /// Nobody judged: all labels only say that the answer is worth imitating.
    pub demonstrations: bool,
}

/// A trait that the data has.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Finding {
    /// What it is like.
    pub data: Trait,
    /// The numbers that say so.
    pub evidence: String,
}

impl Signals {
    /// # Errors
    /// A share outside 0 to 1.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (name, share) in [("near_equal", self.near_equal), ("noise", self.noise)] {
            if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                let message = format!("{name} = {share} is no share: 0..=1");
                return Err(Error::parameter(name, message));
            }
        }
        Ok(())
    }
}

/// The traits, and what could not be told.
pub(super) fn find(data: &Diagnosis, signals: &Signals) -> (Vec<Finding>, Vec<String>) {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    let mut add = |data, evidence| found.push(Finding { data, evidence });
    let counts = &data.counts;
    if demonstrations(data, signals) {
        let evidence = format!("{} completions, none judged undesirable", counts.rows);
        add(Trait::Demonstrations, evidence);
        return (found, unknown);
    }
    if signals.rewards {
        add(
            Trait::Rewards,
            "completions carry numeric rewards".to_string(),
        );
    }
    // the greater part of the rows decides; the rest has to be converted or left out
    if counts.singles > 2 * counts.pairs {
        let weak = if signals.weak {
            ", from an indirect signal"
        } else {
            ""
        };
        let evidence = format!(
            "{} of {} rows are judged for themselves{weak}",
            counts.singles, counts.rows
        );
        add(Trait::Binary, evidence);
    } else if counts.pairs > 0 {
        let evidence = format!(
            "{} pairs make {} of {} rows",
            counts.pairs,
            2 * counts.pairs,
            counts.rows
        );
        add(Trait::Pairs, evidence);
    }
    if let Some(evidence) = imbalance(data) {
        add(Trait::Imbalanced, evidence);
    }
    if (1..SCARCE_PAIRS).contains(&counts.pairs) {
        let evidence = format!("{} pairs, fewer than {SCARCE_PAIRS}", counts.pairs);
        add(Trait::ScarcePairs, evidence);
    }
    match noise(data, signals) {
        Some(evidence) => add(Trait::Noisy, evidence),
        None if counts.pairs >= ABUNDANT_PAIRS => {
            let evidence = format!(
                "{} pairs, at least {ABUNDANT_PAIRS}; {}",
                counts.pairs,
                clean(data, signals)
            );
            add(Trait::AbundantCleanPairs, evidence);
        }
        None => {}
    }
    if data.noise.is_none() && signals.noise.is_none() && counts.rows > 0 {
        unknown.push(
            "how many labels are wrong: nothing was judged twice; have some answers judged again"
                .to_string(),
        );
    }
    match fine(data, signals) {
        Some((true, evidence)) => add(Trait::FineComparisons, evidence),
        None if counts.pairs > 0 => unknown.push(lengths_only(data)),
        _ => {}
    }
    (found, unknown)
}

fn demonstrations(data: &Diagnosis, signals: &Signals) -> bool {
    let counts = &data.counts;
    counts.rows > 0 && (signals.demonstrations || counts.undesirable == 0)
}

/// The paper leaves balances of 1 to 3/2 alone; beyond, in either direction, weights are needed.
fn imbalance(data: &Diagnosis) -> Option<String> {
    let (n_d, n_u) = (data.counts.desirable, data.counts.undesirable);
    let (more, less) = if n_d > n_u { (n_d, n_u) } else { (n_u, n_d) };
    let beyond = more as f64 > TARGETS.end() * less as f64;
    beyond.then(|| {
        let ratio = match less {
            0 => "one label only".to_string(),
            _ => format!("{:.2} to 1", more as f64 / less as f64),
        };
        format!(
            "{n_d} desirable and {n_u} undesirable rows: {ratio}, more than {}",
            TARGETS.end()
        )
    })
}

fn noise(data: &Diagnosis, signals: &Signals) -> Option<String> {
    if let Some(share) = signals.noise.filter(|share| *share >= NOISY) {
        let percent = 100.0 * share;
        return Some(format!(
            "{percent:.1} % of the labels are known to be wrong"
        ));
    }
    let many = |share: &Share| share.count >= FEW_CONTRADICTIONS && share.share >= NOISY;
    if let Some(noise) = &data.noise {
        if many(&noise.of_all) {
            let wrong = &noise.of_all;
            return Some(format!(
                "at least {wrong} of all judgements are wrong: they contradict each other"
            ));
        }
        if noise.representative() && many(&noise.of_repeated) {
            let (wrong, repeated) = (&noise.of_repeated, noise.repeated);
            return Some(format!(
                "at least {wrong} of the judgements of {repeated} things judged twice or more are wrong, and the rest may be like them"
            ));
        }
    }
    let cycles = Share::new(data.cycles.prompts, data.cycles.testable).filter(many)?;
    Some(format!(
        "preferences of {cycles} prompts with three comparisons or more go round in circles"
    ))
}

fn clean(data: &Diagnosis, signals: &Signals) -> String {
    match (signals.noise, &data.noise) {
        (Some(share), _) => format!("{:.1} % of the labels are known to be wrong", 100.0 * share),
        (None, Some(noise)) => {
            format!(
                "judgements proven wrong, of those repeated: {}",
                noise.of_repeated
            )
        }
        (None, None) => {
            "nothing was judged twice, so that they are clean is taken on trust".to_string()
        }
    }
}

fn fine(data: &Diagnosis, signals: &Signals) -> Option<(bool, String)> {
    if data.counts.pairs == 0 {
        return None;
    }
    match (signals.fine_comparisons, signals.near_equal) {
        (Some(fine), _) => Some((
            fine,
            "the caller says so; counts cannot show it".to_string(),
        )),
        (None, Some(share)) => {
            let percent = 100.0 * share;
            let evidence = format!(
                "the answers of {percent:.1} % of the pairs were measured to be nearly the same"
            );
            Some((share >= NEAR_EQUAL, evidence))
        }
        (None, None) => None,
    }
}

/// Equal length is no equal quality: it is told, and decides nothing.
fn lengths_only(data: &Diagnosis) -> String {
    let near = data.lengths.near_equal.as_ref();
    let near = near.map_or_else(|| "none".to_string(), ToString::to_string);
    format!(
        "whether the pairs compare near-equals: counts cannot show it (nearly equal in length: {near}); give fine_comparisons, \
         or near_equal as measured on the text"
    )
}
