//! `examples.jsonl` back to rows: each example as it was seen last.

use std::collections::HashMap;
use std::path::Path;

use halo_loss::{DataShape, Label, Loss, ParamValue, Params, Row};
use serde::Deserialize;

use crate::data::{Lines, Place, object};
use crate::{Error, Result};

/// Examples of a run, each as it was seen last.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The run's loss.
    pub loss: Loss,
    /// The examples; of a loss over pairs chosen and rejected in turn.
    pub rows: Vec<Row>,
    /// Their ids.
    pub ids: Vec<String>,
    /// Whether each has the reference's log-probability.
    pub reference: bool,
    /// Whether each has a reference point.
    pub reference_point: bool,
    /// The first and the last step among these sights.
    pub steps: [u64; 2],
}

/// The first line. More keys may come with other versions of the engine.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
    loss: String,
    params: Params,
}

/// Every other line.
#[derive(Deserialize)]
struct Sight {
    id: String,
    step: u64,
    label: bool,
    logp: f64,
    ref_logp: Option<f64>,
    tokens: u32,
    z0: Option<f64>,
    weight: f64,
    group: u32,
}

/// # Errors
/// Those of [`super::read`].
pub(super) fn read(path: &Path, until: Option<u64>) -> Result<Recording> {
    let mut lines = Lines::open(path)?;
    let place = |line| Place {
        path: path.to_owned(),
        line,
    };
    let loss = match lines.next()? {
        Some(line) => header(&line.text).map_err(|reason| place(line.number).error(reason))?,
        None => {
            return Err(Error::data(format!(
                "{}: the file is empty",
                path.display()
            )));
        }
    };
    let size = match loss.data_shape() {
        DataShape::Paired => 2,
        _ => 1,
    };
    // Of each unit, by the ids of its records, the sights of the last step that had it.
    let mut found: HashMap<Vec<String>, usize> = HashMap::new();
    let mut units: Vec<Vec<Sight>> = Vec::new();
    let mut unit: Vec<Sight> = Vec::with_capacity(size);
    let mut number = 0;
    while let Some(line) = lines.next()? {
        number = line.number;
        let sight = sight(&line.text).map_err(|reason| place(number).error(reason))?;
        if size == 2 {
            check_half(unit.first(), &sight).map_err(|reason| place(number).error(reason))?;
        }
        unit.push(sight);
        if unit.len() < size {
            continue;
        }
        let whole = std::mem::replace(&mut unit, Vec::with_capacity(size));
        if until.is_some_and(|until| whole[0].step > until) {
            continue;
        }
        let ids = whole.iter().map(|sight| sight.id.clone()).collect();
        let next = units.len();
        let index = *found.entry(ids).or_insert(next);
        match units.get_mut(index) {
            None => units.push(whole),
            Some(earlier) if earlier[0].step <= whole[0].step => *earlier = whole,
            Some(_) => {}
        }
    }
    if !unit.is_empty() {
        return Err(place(number).error("the last pair has no rejected completion"));
    }
    let sights: Vec<Sight> = units.into_iter().flatten().collect();
    let steps = sights.iter().map(|sight| sight.step);
    let (Some(first), Some(last)) = (steps.clone().min(), steps.max()) else {
        let up_to = until.map_or(String::new(), |until| format!(" up to step {until}"));
        return Err(Error::data(format!(
            "{}: no examples{up_to}",
            path.display()
        )));
    };
    Ok(Recording {
        reference: sights.iter().all(|sight| sight.ref_logp.is_some()),
        reference_point: sights.iter().all(|sight| sight.z0.is_some()),
        rows: sights.iter().map(|sight| row(&loss, sight)).collect(),
        ids: sights.into_iter().map(|sight| sight.id).collect(),
        steps: [first, last],
        loss,
    })
}

fn header(text: &str) -> Result<Loss, String> {
    let header: Header = object(text).map_err(|reason| {
        format!("not the header of examples ({reason}); `halo train --record-examples` writes such files")
    })?;
    if header.format != "halo.examples" || header.version != 1 {
        return Err(format!(
            "format {:?}, version {}; known: \"halo.examples\", version 1",
            header.format, header.version
        ));
    }
    Loss::new(&header.loss, &header.params).map_err(|e| e.to_string())
}

fn sight(text: &str) -> Result<Sight, String> {
    let sight: Sight = object(text)?;
    // A number beyond f64's is no number in JSON, and infinity has no JSON: what is read is finite.
    if sight.weight < 0.0 {
        return Err(format!("weight = {}; allowed: 0 or more", sight.weight));
    }
    if sight.tokens == 0 {
        return Err("tokens = 0; allowed: 1 or more".into());
    }
    Ok(sight)
}

/// A pair is two lines of one step: its chosen, then its rejected.
fn check_half(chosen: Option<&Sight>, sight: &Sight) -> Result<(), String> {
    let what = match chosen {
        None if sight.label => return Ok(()),
        None => "a rejected completion without a chosen one before it",
        Some(_) if sight.label => "a second chosen completion; its pair's rejected one is missing",
        Some(chosen) if chosen.step != sight.step => {
            "the rejected completion is of another step than the chosen one before it"
        }
        Some(chosen) if chosen.group != sight.group => {
            "the rejected completion is of another prompt than the chosen one before it"
        }
        Some(_) => return Ok(()),
    };
    Err(format!("{what} (id {:?})", sight.id))
}

fn row(loss: &Loss, sight: &Sight) -> Row {
    let label = match sight.label {
        true => Label::Desirable,
        false => Label::Undesirable,
    };
    // Recorded with the class weight, which the loss multiplies by again.
    let class = loss.param(match label {
        Label::Desirable => "desirable_weight",
        Label::Undesirable => "undesirable_weight",
    });
    let class = match class {
        Some(ParamValue::Number(weight)) if *weight > 0.0 => *weight,
        _ => 1.0,
    };
    Row {
        logp: sight.logp,
        ref_logp: sight.ref_logp.unwrap_or_default(),
        tokens: sight.tokens,
        label,
        group: sight.group,
        weight: sight.weight / class,
        z0: sight.z0.unwrap_or_default(),
        ..Row::default()
    }
}
