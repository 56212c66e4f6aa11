//! With the engine's data readers: files, lines of JSON, text, and what the data is.

use std::path::{Path, PathBuf};

use halo_core::advise::{Known, look};
use halo_core::data::{
    DataOptions, HeldLine, Limits, Loaded, Place, check_line, hold, load_held, look_at_held,
};
use halo_core::tokenizer::Tokenizer;
use halo_loss::DataShape;
use halo_train::Dataset;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::records::{Content, Item, Records, Row};
use super::units;
use crate::failure::{Failure, Outcome};
use crate::session::error::missing;
use crate::status::*;

/// A line of JSON with its place.
pub(super) type Line = HeldLine;

/// How a file is read.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    limit: Option<usize>,
}

/// What the host knows of the data.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Knowledge {
    weak: bool,
    noise: Option<f64>,
    fine_comparisons: Option<bool>,
    score_threshold: Option<f64>,
}

pub(super) fn load(records: &mut Records, path: &str, options: &Options) -> Outcome {
    let mut lines = hold(Path::new(path)).map_err(|error| failure(error, None))?;
    lines.truncate(options.limit.unwrap_or(usize::MAX));
    records.items.extend(lines.into_iter().map(Item::Line));
    Ok(())
}

pub(super) fn add_json(records: &mut Records, line: &str) -> Outcome {
    let place = Place {
        path: PathBuf::new(),
        line: records.count(),
    };
    check_line(line).map_err(|reason| {
        let message = format!("{place}: {reason}");
        Failure::new(HALO_E_DATA, "dataset.line", message)
    })?;
    let text = line.to_string();
    records.items.push(Item::Line(HeldLine { place, text }));
    Ok(())
}

pub(super) fn text(prompt: &str, completion: &str) -> Outcome<Content> {
    Ok(Content::Text {
        prompt: prompt.into(),
        completion: completion.into(),
    })
}

pub(super) fn diagnose(records: &Records, known: &Knowledge) -> Outcome<String> {
    let known = Known {
        weak: known.weak,
        noise: known.noise,
        fine_comparisons: known.fine_comparisons,
        score_threshold: known.score_threshold,
    };
    let report = look_at_held(&records.lines(true), None, Limits::default())
        .and_then(|data| look(&data, &known))
        .map_err(|error| failure(error, Some(records)))?;
    Ok(json!(report).to_string())
}

/// Without a tokenizer: of lines, too, token ids are read.
pub(super) fn as_tokens(
    records: &Records,
    shape: DataShape,
    score_threshold: Option<f64>,
) -> Outcome<Dataset> {
    let options = DataOptions {
        score_threshold,
        allow_one_class: true,
        keep_texts: false,
        ..DataOptions::new(shape)
    };
    Ok(records.load(None, &options)?.dataset)
}

impl Records {
    /// The records as data of a run whose model the engine owns.
    ///
    /// # Errors
    /// Those of `halo_core::data::load`; the example is the number of a record or line here.
    pub(crate) fn load(
        &self,
        tokenizer: Option<&Tokenizer>,
        options: &DataOptions,
    ) -> Outcome<Loaded> {
        let lines = self.lines(options.shape == DataShape::Paired);
        load_held(&lines, tokenizer, options).map_err(|error| failure(error, Some(self)))
    }

    /// Everything as lines of JSON. With `pairs` the two records of a group are one line.
    fn lines(&self, pairs: bool) -> Vec<HeldLine> {
        let mut lines = Vec::with_capacity(self.items.len());
        let rows: Vec<&Row> = self.items.iter().filter_map(Item::row).collect();
        // Which record each row is.
        let of_rows = self.items.iter().enumerate();
        let numbers: Vec<usize> = of_rows
            .filter(|(_, item)| item.row().is_some())
            .map(|(number, _)| number)
            .collect();
        let groups = match pairs {
            true => units::groups(&rows),
            false => (0..rows.len()).map(|row| vec![row]).collect(),
        };
        for members in groups {
            let labels: Vec<i32> = members.iter().map(|&member| rows[member].label).collect();
            let texts = match (&members[..], &labels[..]) {
                (&[a, b], [1, -1]) => vec![(numbers[a], pair(rows[a], rows[b]))],
                (&[a, b], [-1, 1]) => vec![(numbers[a], pair(rows[b], rows[a]))],
                (alone, _) => {
                    let alone = alone.iter();
                    alone
                        .map(|&row| (numbers[row], single(rows[row])))
                        .collect()
                }
            };
            lines.extend(texts.into_iter().map(|(number, text)| {
                let place = Place {
                    path: PathBuf::new(),
                    line: number,
                };
                (number, HeldLine { place, text })
            }));
        }
        for (number, item) in self.items.iter().enumerate() {
            if let Item::Line(line) = item {
                lines.push((number, line.clone()));
            }
        }
        lines.sort_by_key(|(number, _)| *number);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// Which record a place is.
    fn number(&self, place: &Place) -> Option<usize> {
        match place.path.as_os_str().is_empty() {
            true => Some(place.line),
            false => self
                .items
                .iter()
                .position(|item| matches!(item, Item::Line(line) if line.place == *place)),
        }
    }
}

fn single(row: &Row) -> String {
    let mut line = shared(row);
    content(&mut line, "completion", row);
    match row.label {
        0 => {}
        label => put(&mut line, "label", json!(label)),
    }
    columns(&mut line, "score", "old_logps", row);
    Value::Object(line).to_string()
}

fn pair(chosen: &Row, rejected: &Row) -> String {
    let mut line = shared(chosen);
    content(&mut line, "chosen", chosen);
    content(&mut line, "rejected", rejected);
    columns(&mut line, "chosen_score", "chosen_old_logps", chosen);
    columns(&mut line, "rejected_score", "rejected_old_logps", rejected);
    Value::Object(line).to_string()
}

/// What a pair says once.
fn shared(row: &Row) -> Map<String, Value> {
    let mut line = Map::new();
    if let Some(id) = &row.id {
        put(&mut line, "id", json!(id));
    }
    match &row.content {
        Content::Text { prompt, .. } => put(&mut line, "prompt", json!(prompt)),
        Content::Tokens { prompt, .. } => put(&mut line, "prompt_ids", json!(prompt)),
    }
    put(&mut line, "weight", json!(row.weight));
    put(&mut line, "beta_scale", json!(row.beta_scale));
    line
}

fn content(line: &mut Map<String, Value>, key: &str, row: &Row) {
    match &row.content {
        Content::Text { completion, .. } => put(line, key, json!(completion)),
        Content::Tokens { completion, .. } => put(line, &format!("{key}_ids"), json!(completion)),
    }
}

fn columns(line: &mut Map<String, Value>, score: &str, old_logps: &str, row: &Row) {
    if let Some(given) = row.score {
        put(line, score, json!(given));
    }
    if !row.old_logps.is_empty() {
        put(line, old_logps, json!(row.old_logps));
    }
}

fn put(line: &mut Map<String, Value>, key: &str, value: Value) {
    line.insert(key.into(), value);
}

/// `records`: whose records the places are; without, of a file's lines.
fn failure(error: halo_core::Error, records: Option<&Records>) -> Failure {
    let code = match &error {
        error if error.is_data() => HALO_E_DATA,
        error if missing(error) => HALO_E_NOT_FOUND,
        error if error.is_io() => HALO_E_IO,
        _ => HALO_E_INVALID_ARGUMENT,
    };
    let number = error.place().and_then(|place| match records {
        Some(records) => records.number(place),
        None => place.line.checked_sub(1),
    });
    let failure = Failure::new(code, "dataset", error.to_string());
    match number {
        Some(number) => failure.example(number),
        None => failure,
    }
}
