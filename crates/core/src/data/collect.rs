//! Encoded examples to records and units: unpairing, limits, one completion per prompt, counts.

use std::sync::Arc;

use halo_loss::{DataShape, Label};
use halo_train::{Dataset, Record, Unit};

use super::control::Controls;
use super::encode::{Answer, Border, Encoded};
use super::example::Columns;
use super::limits::{Cut, Limits};
use super::lines::Place;
use super::report::Report;
use super::{DataOptions, Loaded, Text};
use crate::{Error, Result};

mod judge;
mod survey;

pub(super) use judge::Marks;

/// Collects examples in the order of the files.
pub(super) struct Collector<'a> {
    options: &'a DataOptions,
    bos: Option<u32>,
    stop: &'a [u32],
    controls: Option<Controls>,
    /// What is left for the data's own tokens.
    limits: Limits,
    /// Each prompt with its completions: one, or a pair.
    units: Vec<Candidate>,
    report: Report,
    marks: Marks,
}

struct Candidate {
    /// Without a control text, so that equal prompts are found whatever their labels.
    prompt: Vec<u32>,
    prompt_text: Arc<str>,
    /// One labelled completion, or chosen and rejected.
    answers: Vec<Kept>,
}

struct Kept {
    id: String,
    tokens: Vec<u32>,
    text: String,
    label: Label,
    columns: Columns,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        options: &'a DataOptions,
        bos: Option<u32>,
        stop: &'a [u32],
        controls: Option<Controls>,
        files: Vec<String>,
    ) -> Self {
        let within = |controls: &Controls| controls.within(options.limits);
        Collector {
            options,
            bos,
            stop,
            limits: controls.as_ref().map_or(options.limits, within),
            controls,
            units: Vec::new(),
            report: Report {
                files,
                pairs: options.shape == DataShape::Paired,
                ..Report::default()
            },
            marks: Marks::default(),
        }
    }

    /// Takes one example in.
    ///
    /// # Errors
    /// A shape that the loss cannot use, a token outside the vocabulary, or 0 and −1 as labels of one data set.
    pub(super) fn push(&mut self, place: Place, mut example: Encoded) -> Result<()> {
        self.report.read += 1;
        self.check_vocabulary(&place, &example)?;
        let labelled = self.judge(&place, &mut example)?;
        match example.border {
            Border::Clean => {}
            Border::Joined => self.report.joined += 1,
            Border::Differs => self.report.differs += 1,
        }
        let prompt_cut = self.limits.cut_prompt(&mut example.prompt, self.bos);
        let id = example.id.unwrap_or_else(|| default_id(&place));
        let mut kept = Vec::new();
        for (number, (answer, label)) in labelled.into_iter().enumerate() {
            let id = match (answer.side, label) {
                (None, _) if example.listed => format!("{id}/{}", number + 1),
                (None, _) => id.clone(),
                (_, Label::Desirable) => format!("{id}/chosen"),
                (_, Label::Undesirable) => format!("{id}/rejected"),
            };
            kept.push((answer, id, label));
        }
        let units = match self.report.pairs {
            true => vec![kept],
            false => kept.into_iter().map(|answer| vec![answer]).collect(),
        };
        for unit in units {
            self.unit(&example.prompt, &example.prompt_text, unit, prompt_cut);
        }
        Ok(())
    }

    /// The data set, once every example is in.
    ///
    /// # Errors
    /// Nothing is left, or all labels are alike.
    pub(super) fn finish(mut self) -> Result<Loaded> {
        if self.options.one_y_per_x && !self.report.pairs {
            self.one_completion_per_prompt();
        }
        let files = self.report.files.join(", ");
        self.count();
        let report = &self.report;
        if report.kept == 0 {
            let reasons = report.to_string();
            let reasons = reasons
                .lines()
                .skip(1)
                .map(str::trim)
                .collect::<Vec<_>>()
                .join("; ");
            return Err(Error::data(format!(
                "{files}: none of {} records is left ({reasons})",
                report.read
            )));
        }
        if self.options.shape == DataShape::Unpaired && !self.options.allow_one_class {
            let only = match (report.desirable, report.undesirable) {
                (_, 0) => Some("desirable"),
                (0, _) => Some("undesirable"),
                _ => None,
            };
            if let Some(class) = only {
                return Err(Error::data(format!(
                    "{files}: all {} completions are {class}; this loss learns from both classes",
                    report.kept
                )));
            }
        }
        let (mut records, mut units, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for candidate in self.units {
            let first = records.len();
            for answer in candidate.answers {
                let (mut prompt, mut text) =
                    (candidate.prompt.clone(), candidate.prompt_text.clone());
                if let Some(controls) = &self.controls {
                    prompt.extend(controls.tokens(answer.label));
                    if self.options.keep_texts {
                        text = controls.text(&text, answer.label);
                    }
                }
                let columns = answer.columns;
                records.push(Record {
                    id: answer.id,
                    prompt,
                    completion: answer.tokens,
                    label: answer.label,
                    score: columns.score,
                    weight: columns.weight,
                    beta_scale: columns.beta_scale,
                    old_logps: columns.old_logps,
                    ..Record::default()
                });
                texts.push(Text {
                    prompt: text,
                    completion: answer.text,
                });
            }
            units.push(match self.report.pairs {
                true => Unit::Pair {
                    chosen: first,
                    rejected: first + 1,
                },
                false => Unit::Single(first),
            });
        }
        Ok(Loaded {
            dataset: Dataset::new(records, units)
                .map_err(|e| Error::data(e.to_string()).with_source(e))?,
            texts,
            report: self.report,
        })
    }

    /// Cuts a unit and keeps it, if every completion of it has something left.
    fn unit(
        &mut self,
        prompt: &[u32],
        prompt_text: &Arc<str>,
        answers: Vec<(Answer, String, Label)>,
        prompt_cut: bool,
    ) {
        let mut kept = Vec::with_capacity(answers.len());
        let (mut shortened, mut endless) = (false, false);
        for (mut answer, id, label) in answers {
            let control = self.control(label).len();
            // Without a prompt the first token is context.
            let least = usize::from(prompt.len() + control == 0);
            if answer.empty || answer.tokens.len() <= least {
                self.report.dropped_empty += 1;
                return;
            }
            match self
                .limits
                .cut_completion(prompt.len() + control, &mut answer.tokens)
            {
                Cut::Emptied => {
                    self.report.dropped_truncated += 1;
                    return;
                }
                Cut::Shortened if answer.tokens.len() <= least => {
                    self.report.dropped_truncated += 1;
                    return;
                }
                Cut::Shortened => {
                    shortened = true;
                    let scored = answer.tokens.len() - least;
                    answer.columns.old_logps.truncate(scored);
                }
                Cut::Whole => {
                    endless |= !answer.tokens.iter().any(|token| self.stop.contains(token));
                }
            }
            kept.push(Kept {
                id,
                tokens: answer.tokens,
                text: answer.text,
                label,
                columns: answer.columns,
            });
        }
        if kept.is_empty() {
            return;
        }
        self.report.truncated += usize::from(shortened);
        self.report.truncated_prompts += usize::from(prompt_cut);
        self.report.unterminated += usize::from(endless && !self.stop.is_empty());
        self.units.push(Candidate {
            prompt: prompt.to_vec(),
            prompt_text: prompt_text.clone(),
            answers: kept,
        });
    }

    /// The control tokens that go before a completion of this label.
    fn control(&self, label: Label) -> &[u32] {
        self.controls
            .as_ref()
            .map_or(&[], |controls| controls.tokens(label))
    }

    fn check_vocabulary(&self, place: &Place, example: &Encoded) -> Result<()> {
        let Some(size) = self.options.vocab_size else {
            return Ok(());
        };
        let completions = example.answers.iter().flat_map(|answer| &answer.tokens);
        match example
            .prompt
            .iter()
            .chain(completions)
            .find(|token| **token as usize >= size)
        {
            None => Ok(()),
            Some(token) => Err(place.error(format!(
                "token {token} is outside the model's vocabulary of {size}"
            ))),
        }
    }
}

/// The file's name and the line; of a record that never was in a file its number.
pub(super) fn default_id(place: &Place) -> String {
    if place.path.as_os_str().is_empty() {
        return place.line.to_string();
    }
    let name = place.path.file_name().unwrap_or(place.path.as_os_str());
    format!("{}:{}", name.display(), place.line)
}
