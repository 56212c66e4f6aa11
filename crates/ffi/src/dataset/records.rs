//! Records as they were given, before a loss says what it reads of them.

use halo_loss::{DataShape, Label};
use halo_train::{Dataset, Record};

use super::full::{self, Line};
use super::units;
use crate::failure::{Failure, Outcome};
use crate::status::*;

/// All records of a data set.
#[derive(Default)]
pub(crate) struct Records {
    pub(super) items: Vec<Item>,
}

/// A record, or a line of JSON, which may hold several.
pub(super) enum Item {
    Row(Row),
    #[cfg_attr(
        not(feature = "session"),
        expect(dead_code, reason = "of the full build")
    )]
    Line(Line),
}

/// One completion of one prompt.
pub(super) struct Row {
    /// Its number, if none was given.
    pub(super) id: Option<String>,
    pub(super) content: Content,
    /// +1, -1, or 0 for not judged.
    pub(super) label: i32,
    /// 0 = alone.
    pub(super) group: u64,
    pub(super) score: Option<f64>,
    pub(super) weight: f64,
    pub(super) beta_scale: f64,
    pub(super) old_logps: Vec<f64>,
}

pub(super) enum Content {
    Tokens {
        prompt: Vec<u32>,
        completion: Vec<u32>,
    },
    #[cfg_attr(
        not(feature = "session"),
        expect(dead_code, reason = "of the full build")
    )]
    Text { prompt: String, completion: String },
}

impl Records {
    pub(crate) fn count(&self) -> usize {
        self.items.len()
    }

    pub(super) fn push(&mut self, row: Row) {
        self.items.push(Item::Row(row));
    }

    /// The records as data of a run whose model the host owns: tokens only. Record n of it is record n here, where all were added
    /// as tokens.
    ///
    /// `score_threshold`: from which score on a record without a label is desirable.
    ///
    /// # Errors
    /// Text; records that the shape cannot use, named by number.
    pub(crate) fn as_tokens(
        &self,
        shape: DataShape,
        score_threshold: Option<f64>,
    ) -> Outcome<Dataset> {
        let rows: Vec<&Row> = self.items.iter().filter_map(Item::row).collect();
        if rows.len() < self.items.len() {
            return full::as_tokens(self, shape, score_threshold);
        }
        let mut records = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter().enumerate() {
            let record = row
                .record(number, shape, score_threshold)
                .map_err(|failure| failure.example(number))?;
            records.push(record);
        }
        let units = units::of(&rows, &records, shape)?;
        Ok(Dataset::new(records, units)?)
    }
}

impl Item {
    pub(super) fn row(&self) -> Option<&Row> {
        match self {
            Item::Row(row) => Some(row),
            Item::Line(_) => None,
        }
    }
}

impl Row {
    pub(super) fn id(&self, number: usize) -> String {
        self.id.clone().unwrap_or_else(|| number.to_string())
    }

    fn record(
        &self,
        number: usize,
        shape: DataShape,
        score_threshold: Option<f64>,
    ) -> Outcome<Record> {
        let refuse = |site: &str, why: &str| {
            let message = format!("record {:?}: {why}", self.id(number));
            Err(Failure::new(HALO_E_DATA, site, message))
        };
        let Content::Tokens { prompt, completion } = &self.content else {
            let why = "it is text, and there is no tokenizer: give tokens, or attach it to a halo_session";
            return refuse("record.tokens", why);
        };
        let by_score = self.score.zip(score_threshold);
        let said = match self.label {
            1 => Some(Label::Desirable),
            -1 => Some(Label::Undesirable),
            _ => by_score.map(|(score, threshold)| label(score >= threshold)),
        };
        let score = match (shape, self.score, said) {
            (DataShape::Grouped, None, Some(label)) => Some(label.sign()),
            (DataShape::Grouped, None, None) => {
                return refuse("record.score", "this loss compares scores, and it has none");
            }
            (_, score, _) => score,
        };
        let label = match (shape, said, score) {
            (_, Some(label), _) => label,
            (DataShape::Grouped, None, score) => label(score.is_some_and(|score| score > 0.0)),
            (DataShape::Any, None, _) => Label::Desirable,
            (DataShape::Paired | DataShape::Unpaired, None, _) => {
                return refuse("record.label", "this loss needs a label, and it has none");
            }
        };
        Ok(Record {
            id: self.id(number),
            prompt: prompt.clone(),
            completion: completion.clone(),
            label,
            score,
            weight: self.weight,
            beta_scale: self.beta_scale,
            old_logps: self.old_logps.clone(),
            ..Record::default()
        })
    }
}

fn label(desirable: bool) -> Label {
    match desirable {
        true => Label::Desirable,
        false => Label::Undesirable,
    }
}
