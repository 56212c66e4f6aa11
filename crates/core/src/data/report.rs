//! What loading did, in numbers and in words.

use std::fmt;

use serde::Serialize;

/// What was read, kept, cut and dropped. Counts are of completions; of pairs where the loss compares pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The files.
    pub files: Vec<String>,
    /// Lines with a record.
    pub read: usize,
    /// Units of training that are left: completions, or pairs.
    pub kept: usize,
    /// Whether the units are pairs.
    pub pairs: bool,
    /// Desirable completions among the kept.
    pub desirable: usize,
    /// Undesirable completions among the kept.
    pub undesirable: usize,
    /// Different prompts among the kept.
    pub prompts: usize,
    /// Dropped: nothing was written.
    pub dropped_empty: usize,
    /// Dropped: a limit left nothing of a completion.
    pub dropped_truncated: usize,
    /// Dropped: another completion of the same prompt was kept (one completion per prompt).
    pub dropped_siblings: usize,
    /// Dropped: undesirable, and the loss trains on demonstrations.
    pub dropped_undesirable: usize,
    /// Kept, but a limit shortened a completion: it no longer ends.
    pub truncated: usize,
    /// Kept, but a limit shortened the prompt.
    pub truncated_prompts: usize,
    /// Kept, but no end-of-sequence token stands in it: the model cannot learn from it to stop. Cut ones are not counted here.
    pub unterminated: usize,
    /// The tokenizer joins text across the border of prompt and completion.
    pub joined: usize,
    /// The chat template renders the prompt alone differently from the prompt in the conversation.
    pub differs: usize,
    /// Kept, and equal to an earlier one.
    pub duplicates: usize,
    /// Kept, and equal to an earlier one but for its label; for pairs, the same preferred the other way round.
    pub contradictions: usize,
    /// Completions whose score is +1 or −1 by their label, because the data gives none and the loss compares scores.
    pub derived_scores: usize,
    /// Kept completions with a control text before them.
    pub controlled: usize,
    /// Kept pairs whose two completions are equal: nothing to learn.
    pub ties: usize,
    /// Tokens of the kept prompts, each record's counted.
    pub prompt_tokens: u64,
    /// Tokens of the kept completions.
    pub completion_tokens: u64,
    /// The longest sequence, prompt and completion, in tokens.
    pub longest: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.pairs { "pairs" } else { "completions" };
        write!(
            f,
            "{} lines of {}: {} {unit} kept",
            count(self.read),
            self.files.join(", "),
            count(self.kept)
        )?;
        if !self.pairs {
            write!(
                f,
                " ({} desirable, {} undesirable)",
                count(self.desirable),
                count(self.undesirable)
            )?;
        }
        write!(
            f,
            " over {} prompts; {} completion tokens, longest sequence {}",
            count(self.prompts),
            count(usize::try_from(self.completion_tokens).unwrap_or(usize::MAX)),
            count(self.longest)
        )?;
        let notes = [
            (self.dropped_empty, "dropped: empty completion"),
            (
                self.dropped_truncated,
                "dropped: nothing of the completion is left within the length limits",
            ),
            (
                self.dropped_siblings,
                "dropped: another completion of the same prompt is kept",
            ),
            (
                self.dropped_undesirable,
                "dropped: undesirable, and this loss trains on demonstrations",
            ),
            (
                self.truncated,
                "cut: the completion exceeds the length limits",
            ),
            (
                self.truncated_prompts,
                "cut: the prompt exceeds max_prompt_length",
            ),
            (
                self.unterminated,
                "without an end-of-sequence token: does the chat template end the assistant's turn?",
            ),
            (
                self.joined,
                "where prompt and completion join in one token; end prompts at a word's end",
            ),
            (
                self.differs,
                "where the chat template renders the prompt differently in the conversation",
            ),
            (self.duplicates, "duplicates"),
            (
                self.contradictions,
                "contradict an earlier label of the same completion",
            ),
            (
                self.derived_scores,
                "without a score: +1 or -1 by the label",
            ),
            (
                self.controlled,
                "with a control text for the label before the completion; the desirable one must end prompts at inference",
            ),
            (self.ties, "pairs of equal completions: nothing to learn"),
        ];
        for (number, note) in notes.iter().filter(|(number, _)| *number > 0) {
            write!(f, "\n  {} {note}", count(*number))?;
        }
        Ok(())
    }
}

/// A count with thousands apart.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_and_a_line_for_each_thing_to_know() {
        let report = Report {
            files: vec!["train.jsonl".into()],
            read: 12_345,
            kept: 1_000,
            desirable: 200,
            undesirable: 800,
            prompts: 7,
            completion_tokens: 1_234_567,
            longest: 99,
            dropped_empty: 2,
            ..Report::default()
        };
        assert_eq!(
            report.to_string(),
            "12,345 lines of train.jsonl: 1,000 completions kept (200 desirable, 800 undesirable) over 7 prompts; \
             1,234,567 completion tokens, longest sequence 99\n  2 dropped: empty completion"
        );
    }
}
