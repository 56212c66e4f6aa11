//! The rows of a forward pass as flat columns, which the host reads until it has answered.

use halo_train::{Dataset, Job};

/// Sequence after sequence.
#[derive(Debug)]
pub(super) struct Sequences {
    /// (rows + 1) into `tokens`.
    pub(super) offsets: Vec<i64>,
    /// (rows)
    pub(super) prompt_tokens: Vec<i32>,
    /// (rows)
    pub(super) group: Vec<u64>,
    pub(super) tokens: Vec<i32>,
    /// Rows that carry gradient: they stand first.
    pub(super) grad_rows: usize,
    /// (rows) scored tokens.
    pub(super) scored: Vec<usize>,
}

impl Sequences {
    pub(super) fn of(job: &Job, data: &Dataset) -> Sequences {
        let mut all = Sequences {
            offsets: vec![0],
            prompt_tokens: Vec::new(),
            group: Vec::new(),
            tokens: Vec::new(),
            grad_rows: job
                .sequences
                .iter()
                .filter(|sequence| sequence.grad)
                .count(),
            scored: Vec::new(),
        };
        for sequence in &job.sequences {
            let prompt = &data.records[sequence.prompt];
            let completion = &data.records[sequence.completion].completion;
            // Token ids came in as i32.
            let tokens = prompt.prompt.iter().chain(completion);
            all.tokens.extend(tokens.map(|token| *token as i32));
            all.offsets.push(all.tokens.len() as i64);
            all.prompt_tokens.push(prompt.prompt.len() as i32);
            all.group.push(u64::from(prompt.group));
            let context = usize::from(prompt.prompt.is_empty());
            all.scored
                .push(completion.len() - context.min(completion.len()));
        }
        all
    }

    pub(super) fn rows(&self) -> usize {
        self.prompt_tokens.len()
    }

    /// The row that a scored token belongs to.
    pub(super) fn row_of(&self, token: usize) -> usize {
        let mut end = 0;
        let mut ends = self.scored.iter().map(|count| {
            end += count;
            end
        });
        ends.position(|end| token < end).unwrap_or(0)
    }
}
