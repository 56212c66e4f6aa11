//! All rows of a step in one flat list of numbers, for losses whose units know each other: what ranks add up.

use std::ops::Range;

use halo_loss::{Row, TokenColumns};

use super::numbers::Numbers;
use super::setup::Setup;
use super::work::Ask;

/// Row by row what only forward passes say, then token by token; what the data says every rank knows.
#[derive(Debug)]
pub(super) struct Whole {
    /// (rows, 4), then (4, tokens) for a loss that reads tokens.
    pub(super) numbers: Vec<f64>,
    rows: usize,
    /// Where each row's tokens begin, and the end.
    starts: Vec<usize>,
    per_token: bool,
}

/// Of a row: logp, ref_logp, old_logp, z0. Of a token: its columns.
const WIDTH: usize = 4;

impl Whole {
    pub(super) fn new(setup: &Setup, rows: &[usize]) -> Whole {
        let mut end = 0;
        let ends = rows.iter().map(|&row| {
            end += setup.data.records[row].scored_tokens() as usize;
            end
        });
        let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let per_token = matches!(setup.ask, Ask::Tokens { .. });
        let tokens = if per_token { end } else { 0 };
        Whole {
            numbers: vec![0.0; WIDTH * (rows.len() + tokens)],
            rows: rows.len(),
            starts,
            per_token,
        }
    }

    /// The tokens of some rows.
    pub(super) fn tokens(&self, rows: &Range<usize>) -> Range<usize> {
        self.starts[rows.start]..self.starts[rows.end]
    }

    /// Takes a micro-batch in, whose first row is the step's `start`-th.
    pub(super) fn put(&mut self, start: usize, batch: &Numbers) {
        let span = self.tokens(&(start..start + batch.rows.len()));
        let total = self.starts[self.rows];
        let (rows, tokens) = self.numbers.split_at_mut(WIDTH * self.rows);
        for (row, four) in batch
            .rows
            .iter()
            .zip(rows.as_chunks_mut::<WIDTH>().0[start..].iter_mut())
        {
            *four = [row.logp, row.ref_logp, row.old_logp, row.z0];
        }
        if !self.per_token {
            return;
        }
        let columns = &batch.tokens;
        let columns = [
            &columns.logps,
            &columns.ref_logps,
            &columns.old_logps,
            &columns.log_collisions,
        ];
        for (column, all) in columns.into_iter().zip(tokens.chunks_mut(total)) {
            if !column.is_empty() {
                all[span.clone()].copy_from_slice(column);
            }
        }
    }

    /// The step as one batch, of the numbers that all ranks put together. A column that nobody answered is zeros, and nobody reads it.
    pub(super) fn read(&self, setup: &Setup, rows: &[usize], numbers: &[f64]) -> Numbers {
        let (fours, tokens) = numbers.split_at(WIDTH * self.rows);
        let fours = fours.as_chunks::<WIDTH>().0.iter();
        let row = |(&index, four): (&usize, &[f64; WIDTH])| {
            let record = &setup.data.records[index];
            let [logp, ref_logp, old_logp, z0] = *four;
            Row {
                logp,
                ref_logp,
                old_logp,
                z0,
                tokens: record.scored_tokens(),
                label: record.label,
                group: 0,
                score: record.score.unwrap_or_default(),
                advantage: setup.advantages[index],
                weight: record.weight,
                beta_scale: record.beta_scale,
            }
        };
        let column = |at: usize| match self.per_token {
            true => {
                let total = self.starts[self.rows];
                tokens[at * total..][..total].to_vec()
            }
            false => Vec::new(),
        };
        Numbers {
            rows: rows.iter().zip(fours).map(row).collect(),
            tokens: TokenColumns {
                logps: column(0),
                ref_logps: column(1),
                old_logps: column(2),
                log_collisions: column(3),
            },
        }
    }
}
