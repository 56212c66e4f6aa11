//! From the answers of forward passes to the rows and tokens that a loss reads.

use std::ops::Range;

use halo_loss::{Batch as Rows, Row, TokenColumns};

use super::layout::Part;
use super::plan::Batch;
use super::setup::{OldLogps, Setup};
use super::work::{Ask, Job, TokenAnswer};
use crate::error::{Error, Kind};

/// What a forward pass answered.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    /// One a sequence.
    pub(super) sums: Vec<f64>,
    /// Numbers per token, sequence after sequence, where they were asked for.
    tokens: TokenAnswer,
    /// Where each sequence's tokens begin, and the end; empty where none were asked for.
    starts: Vec<usize>,
}

impl Scores {
    /// Before any answer.
    pub(super) fn zeros(job: &Job, ask: Ask) -> Scores {
        let sums = vec![0.0; job.sequences.len()];
        match ask {
            Ask::Sums | Ask::Scores => Scores::sums(sums),
            Ask::Tokens { .. } => Scores {
                sums,
                tokens: TokenAnswer {
                    logps: vec![0.0; job.pack.scores.len()],
                    log_collisions: Vec::new(),
                },
                starts: starts(job),
            },
        }
    }

    pub(super) fn sums(sums: Vec<f64>) -> Scores {
        Scores {
            sums,
            tokens: TokenAnswer::default(),
            starts: Vec::new(),
        }
    }

    /// # Errors
    /// Another count than the job's tokens.
    pub(super) fn tokens(
        job: &Job,
        tokens: TokenAnswer,
        collisions: bool,
    ) -> Result<Scores, Error> {
        let wanted = job.pack.scores.len();
        let columns = [
            (tokens.logps.len(), wanted),
            (
                tokens.log_collisions.len(),
                if collisions { wanted } else { 0 },
            ),
        ];
        if let Some((got, wanted)) = columns.into_iter().find(|(got, wanted)| got != wanted) {
            let message =
                format!("Forward expects {wanted} numbers, one a scored token, not {got}");
            return Err(Error::new(Kind::Protocol, message));
        }
        let starts = starts(job);
        let sum = |ends: &[usize]| tokens.logps[ends[0]..ends[1]].iter().sum();
        Ok(Scores {
            sums: starts.windows(2).map(sum).collect(),
            tokens,
            starts,
        })
    }

    /// The tokens of some sequences.
    fn range(&self, sequences: &Range<usize>) -> Range<usize> {
        match self.starts.is_empty() {
            true => 0..0,
            false => self.starts[sequences.start]..self.starts[sequences.end],
        }
    }
}

fn starts(job: &Job) -> Vec<usize> {
    let mut end = 0;
    let ends = job.pack.scored_tokens().into_iter().map(|count| {
        end += count as usize;
        end
    });
    std::iter::once(0).chain(ends).collect()
}

/// Rows with their tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) rows: Vec<Row>,
    pub(super) tokens: TokenColumns,
}

impl Numbers {
    /// Some sequences of a part, row by row those of a micro-batch (or their mismatched twins).
    pub(super) fn of(setup: &Setup, part: &Part, range: Range<usize>, batch: &Batch) -> Numbers {
        let span = part.policy.range(&range);
        let mut numbers = Numbers {
            rows: Vec::with_capacity(range.len()),
            tokens: TokenColumns {
                logps: part.policy.tokens.logps[span.clone()].to_vec(),
                ref_logps: part.reference.tokens.logps[span.clone()].to_vec(),
                old_logps: Vec::new(),
                log_collisions: match part.policy.tokens.log_collisions.is_empty() {
                    true => Vec::new(),
                    false => part.policy.tokens.log_collisions[span].to_vec(),
                },
            },
        };
        for (row, i) in range.enumerate() {
            let sequence = part.job.sequences[i];
            // Of a mismatched sequence the prompt's record says the class: it stands for the example x belongs to.
            let (prompt, completion) = (
                &setup.data.records[sequence.prompt],
                &setup.data.records[sequence.completion],
            );
            let old_logp = match setup.old {
                OldLogps::Unread => 0.0,
                OldLogps::Data => completion.old_logps.iter().sum(),
                OldLogps::Reference => part.reference.sums[i],
            };
            numbers.rows.push(Row {
                logp: part.policy.sums[i],
                ref_logp: part.reference.sums[i],
                old_logp,
                tokens: prompt.scored_tokens_of(completion),
                label: prompt.label,
                group: batch.groups[row],
                score: prompt.score.unwrap_or_default(),
                advantage: setup.advantages[sequence.prompt],
                weight: prompt.weight,
                beta_scale: prompt.beta_scale,
                z0: 0.0,
            });
            if setup.old == OldLogps::Data {
                numbers.tokens.old_logps.extend(&completion.old_logps);
            }
        }
        if setup.old == OldLogps::Reference {
            numbers
                .tokens
                .old_logps
                .clone_from(&numbers.tokens.ref_logps);
        }
        numbers
    }

    pub(super) fn view(&self) -> Rows<'_> {
        Rows {
            rows: &self.rows,
            tokens: self.tokens.view(),
        }
    }
}
