//! Which loss fits a data set: what the data is, what that means for each loss of the registry, and a run to begin with.
//!
//! The judgement itself is `halo_loss::advice`'s, from counts alone. Here stand what it is fed with (judgements of files, what
//! their texts show), what of it can be trained here, and where a model stands on the value curve before any training.

use halo_loss::advice::{Advice, Candidate, Signals, advise};
use halo_loss::diagnosis::{Diagnosis, Judged, Share, diagnose};
use halo_loss::{DataShape, Label, Need, find};
use serde::Serialize;

use crate::Result;
use crate::data::{AsIs, Judgement};

mod run;
mod start;

pub use run::Setting;
pub use start::{Quantiles, Start, measure};

/// From this overlap of their tokens on, two completions are nearly the same: one word in five differs.
pub const NEAR_SAME: f64 = 0.8;

/// What the caller knows of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// Labels were made of an indirect signal.
    pub weak: bool,
    /// The share of labels known to be wrong.
    pub noise: Option<f64>,
    /// Whether pairs compare answers that are both good, or nearly the same; measured on the texts if not said.
    pub fine_comparisons: Option<bool>,
    /// From which score on a completion without a label is desirable; else from any score above 0.
    pub score_threshold: Option<f64>,
}

/// What the data is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contents {
    /// Lines read.
    pub lines: usize,
    /// Pairs of chosen and rejected.
    pub pairs: usize,
    /// Completions judged for themselves by a label.
    pub labelled: usize,
    /// Completions judged by a score alone.
    pub scored: usize,
    /// Completions that nothing is said of: demonstrations.
    pub unjudged: usize,
    /// Which scores count as desirable, where scores had to be made labels: at least this.
    pub score_threshold: Option<f64>,
    /// Pairs whose completions share at least [`NEAR_SAME`] of their tokens.
    pub near_same: Option<Share>,
    /// Left out: nothing is written.
    pub empty: usize,
    /// Left out: a limit leaves nothing.
    pub lost: usize,
}

/// Everything that can be said of a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What the data is.
    pub contents: Contents,
    /// Counts, contradictions, lengths.
    pub diagnosis: Diagnosis,
    /// Traits, warnings and the ranking.
    pub advice: Advice,
    /// The first of the ranking that can be trained on these lines as they stand: an index into it.
    pub proposed: Option<usize>,
}

impl Report {
    /// The candidate to begin with.
    pub fn candidate(&self) -> Option<&Candidate> {
        self.advice.ranking.get(self.proposed?)
    }
}

/// Looks at data, and ranks the losses for it.
///
/// # Errors
/// A share of [`Known`] outside 0 to 1.
pub fn look(data: &AsIs, known: &Known) -> Result<Report> {
    let contents = contents(data, known);
    let rows: Vec<Judged> = data
        .judgements
        .iter()
        .map(|judgement| Judged {
            prompt: judgement.prompt,
            completion: judgement.completion,
            label: label(judgement, contents.score_threshold),
            tokens: judgement.record.scored_tokens(),
            pair: judgement.pair,
            truncated: judgement.truncated,
        })
        .collect();
    let diagnosis = diagnose(&rows)?;
    let signals = Signals {
        weak: known.weak,
        fine_comparisons: known.fine_comparisons,
        near_equal: contents.near_same.map(|share| share.share),
        noise: known.noise,
        rewards: has_groups(data),
        demonstrations: contents.unjudged == rows.len(),
    };
    let advice = advise(&diagnosis, &signals)?;
    let proposed = advice
        .ranking
        .iter()
        .position(|candidate| candidate.blocked.is_none() && reads(candidate, &contents));
    Ok(Report {
        contents,
        diagnosis,
        advice,
        proposed,
    })
}

fn contents(data: &AsIs, known: &Known) -> Contents {
    let count = |wanted: fn(&Judgement) -> bool| {
        data.judgements
            .iter()
            .filter(|judgement| wanted(judgement))
            .count()
    };
    let bare = |judgement: &&Judgement| judgement.label.is_none();
    let scores = data.judgements.iter().filter(bare);
    let scores = scores.filter_map(|judgement| judgement.score);
    let scored = scores.clone().count();
    // the least of what counts as desirable, so that a run's threshold says the same
    let least = scores.filter(|score| *score > 0.0).reduce(f64::min);
    let near = data.overlaps.iter().filter(|share| **share >= NEAR_SAME);
    Contents {
        lines: data.lines,
        pairs: data.overlaps.len(),
        labelled: count(|judgement| judgement.label.is_some() && judgement.pair.is_none()),
        scored,
        unjudged: count(|judgement| judgement.label.is_none() && judgement.score.is_none()),
        score_threshold: known.score_threshold.or(least).filter(|_| scored > 0),
        near_same: Share::new(near.count() as u64, data.overlaps.len() as u64),
        empty: data.empty,
        lost: data.lost,
    }
}

/// What was said, or what the score says, or that it is a demonstration.
fn label(judgement: &Judgement, threshold: Option<f64>) -> Label {
    let by_score =
        judgement.score.map(
            |score| match threshold.is_some_and(|threshold| score >= threshold) {
                true => Label::Desirable,
                false => Label::Undesirable,
            },
        );
    judgement.label.or(by_score).unwrap_or(Label::Desirable)
}

/// Whether a prompt has several completions with scores of their own: what a group is.
fn has_groups(data: &AsIs) -> bool {
    let single = |judgement: &&Judgement| judgement.pair.is_none() && judgement.score.is_some();
    let mut prompts: Vec<u64> = data
        .judgements
        .iter()
        .filter(single)
        .map(|judgement| judgement.prompt)
        .collect();
    prompts.sort_unstable();
    prompts.windows(2).any(|two| two[0] == two[1])
}

/// Whether a policy can be trained with this loss on every line as it stands.
fn reads(candidate: &Candidate, contents: &Contents) -> bool {
    let Ok(spec) = find(&candidate.proposal.loss) else {
        return false;
    };
    if spec.needs.contains(&Need::Errors) || spec.needs.contains(&Need::Scores) {
        return false;
    }
    match spec.shape {
        DataShape::Any => true,
        DataShape::Paired => contents.labelled + contents.scored + contents.unjudged == 0,
        DataShape::Unpaired | DataShape::Grouped => contents.unjudged == 0,
    }
}
