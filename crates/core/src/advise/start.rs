//! Where a data set stands on a loss's value curve before any training, under a model and its reference.

use halo_loss::saturation::{Axis, Bounds, Counts, TOLERANCE, bounds, counts, zones};
use halo_loss::{DataShape, Label, Loss, Need, Row};
use halo_train::{Answer, Ask, Pack, Sequence};
use serde::Serialize;

use super::{Report, label};
use crate::data::{AsIs, Judgement};
use crate::models::Decoder;
use crate::{Error, Result};

/// Sequences of one forward pass.
const BATCH: usize = 16;

/// What is known of the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Start {
    /// The loss whose curve it is.
    pub loss: String,
    /// Completions that were computed, evenly spread over the data.
    pub measured: usize,
    /// Of so many.
    pub of: usize,
    /// ln π of the completions, nats: desirable, undesirable.
    pub logps: [Option<Quantiles>; 2],
    /// ln π − ln π_ref, nats; `None` without another reference: it is 0 for every completion then.
    pub log_ratios: Option<[Option<Quantiles>; 2]>,
    /// Where the loss lets go: how many nats a completion (or a pair) must move from where nothing has moved.
    pub bounds: Bounds,
    /// How many completions are learnt, active and given up now: desirable, undesirable. `None` where the loss reads more
    /// than sums, or saturates nowhere.
    pub zones: Option<[Counts; 2]>,
}

/// A spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// The least.
    pub least: f64,
    /// A quarter is below.
    pub lower: f64,
    /// Half is below.
    pub median: f64,
    /// Three quarters are below.
    pub upper: f64,
    /// The most.
    pub most: f64,
}

impl Quantiles {
    /// Of numbers in any order; `None` of none.
    pub fn of(mut numbers: Vec<f64>) -> Option<Quantiles> {
        numbers.sort_by(f64::total_cmp);
        let last = numbers.len().checked_sub(1)?;
        // linear between neighbours
        let at = |share: f64| {
            let place = share * last as f64;
            let (low, high) = (numbers[place as usize], numbers[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        Some(Quantiles {
            least: at(0.0),
            lower: at(0.25),
            median: at(0.5),
            upper: at(0.75),
            most: at(1.0),
        })
    }
}

/// Computes at most about `sample` completions under the model, and under the reference if there is another.
///
/// # Errors
/// A token outside the vocabulary, log-probabilities that are not finite.
pub fn measure(
    loss: &Loss,
    (data, report): (&AsIs, &Report),
    (policy, reference): (&Decoder, Option<&Decoder>),
    sample: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<Start> {
    let chosen = choose(loss, data, sample);
    let passes = 1 + usize::from(reference.is_some());
    let mut done = 0;
    let mut compute = |model: &Decoder| {
        logps(model, &chosen, |count| {
            done += count;
            progress(done, passes * chosen.len());
        })
    };
    let logp = compute(policy)?;
    let ref_logp = match reference {
        Some(reference) => compute(reference)?,
        None => logp.clone(),
    };
    let rows: Vec<Row> = chosen
        .iter()
        .zip(logp.iter().zip(&ref_logp))
        .map(|(judgement, (logp, ref_logp))| Row {
            logp: *logp,
            ref_logp: *ref_logp,
            tokens: judgement.record.scored_tokens(),
            label: label(judgement, report.contents.score_threshold),
            beta_scale: judgement.record.beta_scale,
            ..Row::default()
        })
        .collect();
    let spread = |value: fn(&Row) -> f64| {
        [Label::Desirable, Label::Undesirable].map(|label| {
            let rows = rows.iter().filter(|row| row.label == label);
            Quantiles::of(rows.map(value).collect())
        })
    };
    let bounds = bounds(loss, TOLERANCE)?;
    let readable = [
        Need::TokenLogps,
        Need::OldLogps,
        Need::VocabStats,
        Need::Scores,
        Need::Errors,
    ]
    .iter()
    .all(|need| !loss.needs(*need));
    let zones = match readable && bounds.axis != Axis::None && !rows.is_empty() {
        true => Some(counts(&rows, &zones(loss, &rows, TOLERANCE)?)),
        false => None,
    };
    Ok(Start {
        loss: loss.name().into(),
        measured: rows.len(),
        of: data.judgements.len(),
        logps: spread(|row| row.logp),
        log_ratios: reference.map(|_| spread(|row| row.logp - row.ref_logp)),
        bounds,
        zones,
    })
}

/// Evenly spread completions; whole pairs for a loss that compares them.
fn choose<'a>(loss: &Loss, data: &'a AsIs, sample: usize) -> Vec<&'a Judgement> {
    let of_pairs = loss.data_shape() == DataShape::Paired;
    let all: Vec<&Judgement> = data
        .judgements
        .iter()
        .filter(|judgement| !of_pairs || judgement.pair.is_some())
        .collect();
    let size = 1 + usize::from(of_pairs);
    let stride = (all.len() / sample.max(1)).max(1);
    all.chunks(size)
        .step_by(stride)
        .flatten()
        .copied()
        .collect()
}

/// Sums over completion tokens in nats, one a record.
fn logps(
    model: &Decoder,
    judgements: &[&Judgement],
    mut progress: impl FnMut(usize),
) -> Result<Vec<f64>> {
    let mut all = Vec::with_capacity(judgements.len());
    for batch in judgements.chunks(BATCH) {
        let sequences: Vec<Sequence> = batch
            .iter()
            .map(|judgement| Sequence {
                prompt: &judgement.record.prompt,
                completion: &judgement.record.completion,
                grad: false,
            })
            .collect();
        match model
            .answer(&Pack::build(&sequences, true), Ask::Sums, false)?
            .0
        {
            Answer::Logps(logps) => all.extend(logps),
            other => return Err(Error::internal(format!("{other:?} is no sums"))),
        }
        progress(batch.len());
    }
    match all.iter().position(|logp| !logp.is_finite()) {
        None => Ok(all),
        Some(index) => Err(Error::model(format!(
            "the log-probability of {:?} is {}, which is not finite",
            judgements[index].record.id, all[index]
        ))),
    }
}
