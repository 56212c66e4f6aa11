//! Lengths: the one place where tokens are cut.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which end of a prompt stays when `max_prompt_length` cuts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The end: what the completion answers stands there. A beginning-of-sequence token stays too.
    #[default]
    End,
    /// The start.
    Start,
}

/// Limits in tokens. None of them changes a text: every record is cut once, before training, and then never changes.
///
/// First the prompt is cut to `max_prompt_length`, at the end that [`Keep`] says; then the completion to
/// `max_completion_length` and to what `max_length` leaves behind the prompt, always at its end. A completion of which nothing
/// remains is dropped with its example: a prompt that fills `max_length` alone is never shortened by it, as in TRL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Of prompt and completion together.
    pub max_length: Option<usize>,
    /// Of the prompt.
    pub max_prompt_length: Option<usize>,
    /// Of the completion. With `max_prompt_length` it also bounds a prompt with another record's completion.
    pub max_completion_length: Option<usize>,
    /// Which end of a long prompt stays.
    pub keep_prompt: Keep,
}

/// What happened to one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Whole,
    Shortened,
    Emptied,
}

impl Limits {
    /// Checks the limits themselves.
    ///
    /// # Errors
    /// A limit that leaves no room, named with its value.
    pub(super) fn check(&self) -> Result<()> {
        for (name, value, least) in [
            ("max_length", self.max_length, 2),
            ("max_prompt_length", self.max_prompt_length, 1),
            ("max_completion_length", self.max_completion_length, 1),
        ] {
            if let Some(value) = value.filter(|value| *value < least) {
                return Err(
                    Error::parameter(format!("{name} = {value} is less than {least}"))
                        .with_argument(name),
                );
            }
        }
        Ok(())
    }

    /// Cuts a prompt; whether it was cut.
    pub(super) fn cut_prompt(&self, prompt: &mut Vec<u32>, bos: Option<u32>) -> bool {
        let Some(max) = self.max_prompt_length.filter(|max| *max < prompt.len()) else {
            return false;
        };
        match self.keep_prompt {
            Keep::Start => prompt.truncate(max),
            Keep::End => {
                let first = prompt[0];
                prompt.drain(..prompt.len() - max);
                if bos == Some(first) {
                    prompt[0] = first;
                }
            }
        }
        true
    }

    /// Cuts a completion behind a prompt of this length.
    pub(super) fn cut_completion(&self, prompt: usize, completion: &mut Vec<u32>) -> Cut {
        let room = self
            .max_length
            .map_or(usize::MAX, |max| max.saturating_sub(prompt));
        let room = room.min(self.max_completion_length.unwrap_or(usize::MAX));
        if room == 0 {
            completion.clear();
            return Cut::Emptied;
        }
        if completion.len() <= room {
            return Cut::Whole;
        }
        completion.truncate(room);
        Cut::Shortened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_prompt_keeps_its_end_and_its_bos() {
        let limits = Limits {
            max_prompt_length: Some(3),
            ..Limits::default()
        };
        let cut = |limits: Limits, bos| {
            let mut prompt = vec![1, 10, 11, 12, 13];
            assert!(limits.cut_prompt(&mut prompt, bos));
            prompt
        };
        assert_eq!(cut(limits, Some(1)), [1, 12, 13]);
        assert_eq!(cut(limits, None), [11, 12, 13]);
        let start = Limits {
            keep_prompt: Keep::Start,
            ..limits
        };
        assert_eq!(cut(start, Some(1)), [1, 10, 11]);
        assert!(!limits.cut_prompt(&mut vec![1, 2, 3], None));
    }

    #[test]
    fn a_completion_is_cut_at_its_end_or_away() {
        let limits = Limits {
            max_length: Some(6),
            max_completion_length: Some(4),
            ..Limits::default()
        };
        let cut = |prompt| {
            let mut completion = vec![1, 2, 3, 4, 5];
            (limits.cut_completion(prompt, &mut completion), completion)
        };
        assert_eq!(cut(1), (Cut::Shortened, vec![1, 2, 3, 4]));
        assert_eq!(cut(4), (Cut::Shortened, vec![1, 2]));
        assert_eq!(cut(6), (Cut::Emptied, vec![]));
        assert_eq!(cut(9), (Cut::Emptied, vec![]));
        assert_eq!(limits.cut_completion(2, &mut vec![1, 2, 3, 4]), Cut::Whole);
    }
}
