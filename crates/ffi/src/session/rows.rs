//! Sequences of the host's, as tokens.

#![cfg_attr(
    not(feature = "session"),
    allow(
        dead_code,
        reason = "without sessions rows are refused before they are used"
    )
)]

use halo_train::{Dataset, Record, Unit};

use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::status::*;

/// Rows that are to be scored.
pub(crate) struct Rows {
    prompts: Vec<Vec<u32>>,
    completions: Vec<Vec<u32>>,
}

impl Rows {
    /// Reads the arguments of halo_session_score.
    ///
    /// # Errors
    /// NULL; offsets that go back; a prompt longer than its row; a negative token.
    pub(super) fn read(
        host: &Host,
        rows: usize,
        offsets: *const i64,
        prompt_tokens: *const i32,
        tokens: *const i32,
    ) -> Outcome<Rows> {
        let mut all = Rows {
            prompts: Vec::new(),
            completions: Vec::new(),
        };
        if rows == 0 {
            return Ok(all);
        }
        let offsets = host.slice(2, "offsets", offsets, rows.saturating_add(1))?;
        let prompts = host.slice(3, "prompt_tokens", prompt_tokens, rows)?;
        let wrong = |argument, row: usize, message: String| {
            let failure = Failure::new(HALO_E_INVALID_ARGUMENT, "session.score", message);
            Err(failure.argument(argument).example(row))
        };
        let backwards = offsets.windows(2).position(|pair| pair[1] < pair[0]);
        if let Some(row) = backwards.or((offsets[0] < 0).then_some(0)) {
            let (from, to) = (offsets[row], offsets[row + 1]);
            return wrong(2, row, format!("row {row}: offsets {from} to {to}"));
        }
        let tokens = host.slice(4, "tokens", tokens, offsets[rows] as usize)?;
        for (row, (span, &prompt)) in offsets.windows(2).zip(prompts).enumerate() {
            let own = &tokens[span[0] as usize..span[1] as usize];
            if let Some(token) = own.iter().find(|token| **token < 0) {
                return wrong(4, row, format!("row {row}: token {token} is negative"));
            }
            let own: Vec<u32> = own.iter().map(|token| *token as u32).collect();
            match usize::try_from(prompt)
                .ok()
                .and_then(|at| own.split_at_checked(at))
            {
                Some((prompt, completion)) => {
                    all.prompts.push(prompt.to_vec());
                    all.completions.push(completion.to_vec());
                }
                None => {
                    let len = own.len();
                    let message = format!("row {row}: prompt_tokens = {prompt} of {len} tokens");
                    return wrong(3, row, message);
                }
            }
        }
        Ok(all)
    }

    /// # Errors
    /// Another number of places than numbers.
    pub(super) fn fits(&self, count: usize, by_token: bool) -> Outcome {
        let (wanted, what) = match by_token {
            true => (
                self.completions.iter().map(Vec::len).sum(),
                "completion tokens",
            ),
            false => (self.completions.len(), "rows"),
        };
        if count == wanted {
            return Ok(());
        }
        let message = format!("count = {count}, but there are {wanted} {what}");
        Err(Failure::new(HALO_E_SHAPE, "session.score", message).argument(7))
    }

    /// Whether there is nothing to score.
    pub(crate) fn is_empty(&self) -> bool {
        self.completions.is_empty()
    }

    /// The length of each completion.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.completions.iter().map(Vec::len)
    }

    /// As records.
    ///
    /// # Errors
    /// A token outside the vocabulary; a row of which nothing can be scored.
    pub(crate) fn dataset(&self, vocabulary: usize) -> Outcome<Dataset> {
        let rows = self.prompts.iter().zip(&self.completions).enumerate();
        let mut records = Vec::with_capacity(self.completions.len());
        for (row, (prompt, completion)) in rows {
            let mut tokens = prompt.iter().chain(completion);
            if let Some(token) = tokens.find(|token| **token as usize >= vocabulary) {
                let message = format!(
                    "row {row}: token {token} is outside the model's vocabulary of {vocabulary}"
                );
                let failure = Failure::new(HALO_E_INVALID_ARGUMENT, "session.score", message);
                return Err(failure.argument(4).example(row));
            }
            records.push(Record {
                id: row.to_string(),
                prompt: prompt.clone(),
                completion: completion.clone(),
                ..Record::default()
            });
        }
        let units = (0..records.len()).map(Unit::Single).collect();
        Dataset::new(records, units).map_err(|error| {
            let failure = Failure::new(HALO_E_DATA, "session.score", error.to_string()).argument(2);
            match error.record() {
                Some(row) => failure.example(row),
                None => failure,
            }
        })
    }
}

/// # Errors
/// A flag that this version does not know.
pub(super) fn known(argument: usize, flags: u32, known: u32) -> Outcome {
    match flags & !known {
        0 => Ok(()),
        other => {
            let message = format!("flags: {other:#x} is unknown");
            Err(Failure::new(HALO_E_UNSUPPORTED, "session.flags", message).argument(argument))
        }
    }
}
