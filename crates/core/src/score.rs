//! What a reward model gives: one score for each completion of a data file.

use std::path::Path;

use halo_train::{Answer, Ask, Dataset, Job, SequenceRef, Unit};
use serde::Serialize;

use crate::data::{AsIs, Judgement};
use crate::device::Placement;
use crate::models::{Decoder, Loaded, Readout, Training, load_for};
use crate::{Error, Result};

/// Sequences of one forward pass.
const BATCH: usize = 32;

/// How often the chosen completion of a pair has the higher score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Accuracy {
    /// Pairs.
    pub pairs: usize,
    /// Pairs whose chosen completion scores higher than the rejected one.
    pub correct: usize,
    /// Pairs of equal scores, which are not correct.
    pub ties: usize,
    /// correct / pairs.
    pub accuracy: f64,
}

/// Loads a reward model.
///
/// # Errors
/// As [`load_for`]; a language model, which has no score to give.
pub fn open(folder: &Path, placement: &Placement) -> Result<Loaded> {
    let model = load_for(folder, &Training::Frozen, Readout::AsStored, 0, placement)?;
    match model.decoder.config().score_head {
        true => Ok(model),
        false => Err(Error::model(format!(
            "{} is a language model: it has no head that scores; train a reward model first (see `halo losses`)",
            folder.display()
        ))),
    }
}

/// The score of each completion, in their order. `progress` is told how many are done.
///
/// # Errors
/// A token outside the model's vocabulary, no completion, a score that is not finite.
pub fn score(model: &Decoder, data: &AsIs, mut progress: impl FnMut(usize)) -> Result<Vec<f64>> {
    let records: Vec<_> = data
        .judgements
        .iter()
        .map(|judgement| judgement.record.clone())
        .collect();
    let units = (0..records.len()).map(Unit::Single).collect();
    let data =
        Dataset::new(records, units).map_err(|e| Error::data(e.to_string()).with_source(e))?;
    let mut scores = Vec::with_capacity(data.records.len());
    while scores.len() < data.records.len() {
        let end = (scores.len() + BATCH).min(data.records.len());
        let own = |record| SequenceRef {
            prompt: record,
            completion: record,
            grad: false,
        };
        let job = Job::for_scores(&data, (scores.len()..end).map(own).collect());
        match model.answer(&job.pack, Ask::Scores, false)?.0 {
            Answer::Logps(batch) => scores.extend(batch),
            other => return Err(Error::internal(format!("{other:?} is no scores"))),
        }
        progress(scores.len());
    }
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(scores),
        Some(index) => Err(Error::model(format!(
            "the score of {:?} is {}, which is not finite",
            data.records[index].id, scores[index]
        ))),
    }
}

/// The accuracy on the data's pairs; `None` without any. Scores belong to the judgements by index.
pub fn accuracy(data: &AsIs, scores: &[f64]) -> Option<Accuracy> {
    let mut result = Accuracy::default();
    let scored: Vec<(&Judgement, &f64)> = data.judgements.iter().zip(scores).collect();
    for two in scored.windows(2) {
        let [(chosen, better), (rejected, worse)] = two else {
            continue;
        };
        if chosen.pair.is_none() || chosen.pair != rejected.pair {
            continue;
        }
        result.pairs += 1;
        result.correct += usize::from(better > worse);
        result.ties += usize::from(better == worse);
    }
    result.accuracy = result.correct as f64 / result.pairs as f64;
    (result.pairs > 0).then_some(result)
}
