//! Who has stopped learning in a run, and who would have under another loss or β: from the run's `examples.jsonl`.

use std::path::Path;

use halo_loss::saturation::{Bounds, Counts, TOLERANCE, bounds, counts, places};
use halo_loss::{DataShape, Label, Loss, Need, Normalizer, Params, Zone, evaluate, registry};
use serde::Serialize;

use crate::{Error, Result};

mod recording;

pub use recording::Recording;

/// The βs of the grid, unless others are asked for.
pub const BETAS: [f64; 6] = [0.01, 0.05, 0.1, 0.2, 0.5, 1.0];

/// What to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Losses of the grid; empty: all that the columns suffice for.
    pub losses: Vec<String>,
    /// βs of the grid.
    pub betas: Vec<f64>,
    /// Examples to name.
    pub top: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            losses: Vec::new(),
            betas: BETAS.into(),
            top: 10,
        }
    }
}

/// A loss, and where the examples stand under it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The loss.
    pub loss: String,
    /// Its β, if it has one.
    pub beta: Option<f64>,
    /// Where it lets go, nats.
    pub bounds: Bounds,
    /// Examples: desirable, undesirable. Of pairs both sides stand where their pair does.
    pub counts: [Counts; 2],
}

/// An example far on the wrong side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// The record's id; of a pair the chosen one's.
    pub id: String,
    /// Of a pair the rejected one's.
    pub rejected: Option<String>,
    /// What was said about it.
    pub label: Label,
    /// ln π − ln π_ref, nats; `None` for a loss without a reference.
    pub log_ratio: Option<f64>,
    /// The reference point that it was compared with.
    pub z0: Option<f64>,
    /// How far it is on the right side, nats: s(r − z₀), or r_w − r_l.
    pub progress: f64,
    /// Where that puts it.
    pub zone: Zone,
    /// Its share of the sum of |dL/dlogp| over all examples: how much of the pull is its own.
    pub slope_share: f64,
}

/// What a recording shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The run's loss.
    pub loss: String,
    /// Its parameters.
    pub params: Params,
    /// Examples, each as it was seen last.
    pub examples: usize,
    /// Whether they are halves of pairs.
    pub pairs: bool,
    /// First and last step of those sights.
    pub steps: [u64; 2],
    /// Under the run's own loss; `None` where it reads more than was recorded.
    pub own: Option<Standing>,
    /// What it reads that was not recorded.
    pub missing: Vec<Need>,
    /// Under other losses and βs.
    pub grid: Vec<Standing>,
    /// Furthest on the wrong side under the run's own loss, the furthest first.
    pub furthest: Vec<Example>,
}

/// Reads a run's folder, or a file of examples, up to a step.
///
/// # Errors
/// No such file, a file of another kind, a line that is wrong, by number; no example up to that step.
pub fn read(path: &Path, until: Option<u64>) -> Result<Recording> {
    let file = match path.is_dir() {
        true => path.join("examples.jsonl"),
        false => path.to_owned(),
    };
    if path.is_dir() && !file.is_file() {
        return Err(Error::data(format!(
            "{}: no examples.jsonl in it; `halo train --record-examples` writes one",
            path.display()
        )));
    }
    recording::read(&file, until)
}

/// Counts under the run's own loss and under others, and names who is furthest on the wrong side.
///
/// # Errors
/// An unknown loss, or one that the columns do not suffice for; a β out of range; a recording that its loss cannot read.
pub fn inspect(recording: &Recording, options: &Options) -> Result<Inspection> {
    let loss = &recording.loss;
    let missing = missing(loss, recording);
    let (own, furthest) = match missing.is_empty() && !recording.rows.is_empty() {
        true => (
            Some(stand(loss, recording)?),
            furthest(loss, recording, options.top)?,
        ),
        false => (None, Vec::new()),
    };
    let mut grid = Vec::new();
    for loss in grid_losses(recording, &options.losses)? {
        let saturates = bounds(&loss, TOLERANCE)?;
        let saturates = saturates.learnt.is_some() || saturates.given_up.is_some();
        match saturates && loss.param("beta").is_some() {
            true => {
                for beta in &options.betas {
                    grid.push(stand(&loss.with("beta", *beta)?, recording)?);
                }
            }
            false => grid.push(stand(&loss, recording)?),
        }
    }
    Ok(Inspection {
        loss: loss.name().into(),
        params: loss.params().clone(),
        examples: recording.rows.len(),
        pairs: loss.data_shape() == DataShape::Paired,
        steps: recording.steps,
        own,
        missing,
        grid,
        furthest,
    })
}

/// What a loss reads that the recording does not hold.
fn missing(loss: &Loss, recording: &Recording) -> Vec<Need> {
    let held = |need: &Need| match need {
        Need::Reference => recording.reference,
        Need::ReferencePoint => recording.reference_point,
        // the tokens are in the context of the recorded sums
        Need::Lengths | Need::ControlTokens => true,
        _ => false,
    };
    let needs = Need::ALL.into_iter().filter(|need| loss.needs(*need));
    needs.filter(|need| !held(need)).collect()
}

/// The losses asked for, or all of the recording's shape of which nothing is missing; at their defaults.
fn grid_losses(recording: &Recording, asked: &[String]) -> Result<Vec<Loss>> {
    let shape = recording.loss.data_shape();
    let mut losses = Vec::new();
    for name in asked {
        let loss = Loss::new(name, &Params::new())?;
        let missing = missing(&loss, recording);
        let why = match missing.as_slice() {
            _ if loss.data_shape() != shape => format!(
                "it reads data of shape {:?}, the recording is {shape:?}",
                loss.data_shape()
            ),
            [] => String::new(),
            missing => format!("it needs {missing:?}, which the recording does not hold"),
        };
        if !why.is_empty() {
            let message = format!("{name} cannot be computed here: {why}");
            return Err(Error::parameter(message).with_argument("losses"));
        }
        losses.push(loss);
    }
    if asked.is_empty() {
        for spec in registry().iter().filter(|spec| spec.shape == shape) {
            let loss = Loss::new(spec.name, &Params::new())?;
            if missing(&loss, recording).is_empty() {
                losses.push(loss);
            }
        }
    }
    Ok(losses)
}

fn stand(loss: &Loss, recording: &Recording) -> Result<Standing> {
    let zones: Vec<Zone> = places(loss, &recording.rows, TOLERANCE)?
        .into_iter()
        .map(|(_, zone)| zone)
        .collect();
    Ok(Standing {
        loss: loss.name().into(),
        beta: match loss.param("beta") {
            Some(halo_loss::ParamValue::Number(beta)) => Some(*beta),
            _ => None,
        },
        bounds: bounds(loss, TOLERANCE)?,
        counts: counts(&recording.rows, &zones),
    })
}

fn furthest(loss: &Loss, recording: &Recording, top: usize) -> Result<Vec<Example>> {
    let rows = &recording.rows;
    let places = places(loss, rows, TOLERANCE)?;
    let slopes = evaluate(loss, rows, &Normalizer::of(loss, rows))?.dlogps;
    let whole: f64 = slopes.iter().map(|slope| slope.abs()).sum();
    let size = loss.rows_per_unit();
    let mut order: Vec<usize> = (0..rows.len())
        .step_by(size)
        .filter(|&row| places[row].0 < 0.0)
        .collect();
    order.sort_by(|&a, &b| places[a].0.total_cmp(&places[b].0));
    order.truncate(top);
    let example = |row: usize| {
        let own: f64 = slopes[row..row + size]
            .iter()
            .map(|slope| slope.abs())
            .sum();
        Example {
            id: recording.ids[row].clone(),
            rejected: (size == 2).then(|| recording.ids[row + 1].clone()),
            label: rows[row].label,
            log_ratio: recording
                .reference
                .then(|| rows[row].logp - rows[row].ref_logp),
            z0: recording.reference_point.then_some(rows[row].z0),
            progress: places[row].0,
            zone: places[row].1,
            slope_share: if whole > 0.0 { own / whole } else { 0.0 },
        }
    };
    Ok(order.into_iter().map(example).collect())
}
