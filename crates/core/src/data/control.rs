//! Control texts: what conditional fine-tuning puts between prompt and completion, so that the model learns what the label means.
//!
//! They are tokenised once and end the prompt's tokens: context, not scored. To ask for good answers later, the desirable text
//! must end the prompt.

use std::sync::Arc;

use halo_loss::{DataShape, Label};

use super::{DataOptions, Limits};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// The texts, one per label. Both empty: the data's prompts end in theirs already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Before desirable completions.
    pub desirable: String,
    /// Before undesirable completions.
    pub undesirable: String,
}

impl Default for Control {
    fn default() -> Control {
        Control {
            desirable: "<|good|>".into(),
            undesirable: "<|bad|>".into(),
        }
    }
}

/// The texts as tokens.
#[derive(Debug)]
pub(super) struct Controls {
    texts: Control,
    desirable: Vec<u32>,
    undesirable: Vec<u32>,
}

impl Control {
    /// # Errors
    /// Texts that are equal; no tokenizer for a text; tokens outside the vocabulary; a limit that they fill; data in pairs.
    pub(super) fn encode(
        &self,
        tokenizer: Option<&Tokenizer>,
        options: &DataOptions,
    ) -> Result<Controls> {
        if self.desirable == self.undesirable && !self.desirable.is_empty() {
            let message = format!(
                "control_desirable and control_undesirable are both {:?}: they must tell the labels apart",
                self.desirable
            );
            return Err(Error::parameter(message).with_argument("control_undesirable"));
        }
        if options.shape == DataShape::Paired {
            let message = "control texts say the label of one completion; this loss compares two of one prompt";
            return Err(Error::parameter(message).with_argument("loss"));
        }
        let tokens = |key: &str, text: &str| {
            if text.is_empty() {
                return Ok(Vec::new());
            }
            let refuse = |why: String| {
                Error::parameter(format!("{key} = {text:?}: {why}")).with_argument(key)
            };
            let Some(tokenizer) = tokenizer else {
                let why = "there is no tokenizer to make tokens of it; end each prompt_ids with the control token of \
                           its label, and set control_desirable and control_undesirable to \"\"";
                return Err(refuse(why.into()));
            };
            let tokens = tokenizer.encode_continuation(text)?;
            let size = options.vocab_size.unwrap_or(usize::MAX);
            match tokens.iter().find(|token| **token as usize >= size) {
                None => Ok(tokens),
                Some(token) => Err(refuse(format!(
                    "token {token} is outside the model's vocabulary of {size}"
                ))),
            }
        };
        let controls = Controls {
            desirable: tokens("control_desirable", &self.desirable)?,
            undesirable: tokens("control_undesirable", &self.undesirable)?,
            texts: self.clone(),
        };
        match options.limits.max_prompt_length {
            Some(max) if max <= controls.longest() => {
                let longest = controls.longest();
                let message = format!(
                    "max_prompt_length = {max} leaves nothing of a prompt: a control text takes {longest} tokens"
                );
                Err(Error::parameter(message).with_argument("max_prompt_length"))
            }
            _ => Ok(controls),
        }
    }
}

impl Controls {
    pub(super) fn tokens(&self, label: Label) -> &[u32] {
        match label {
            Label::Desirable => &self.desirable,
            Label::Undesirable => &self.undesirable,
        }
    }

    /// A prompt's text with the control text at its end.
    pub(super) fn text(&self, prompt: &str, label: Label) -> Arc<str> {
        let text = match label {
            Label::Desirable => &self.texts.desirable,
            Label::Undesirable => &self.texts.undesirable,
        };
        format!("{prompt}{text}").into()
    }

    /// Limits with room for the longer text in the prompt.
    pub(super) fn within(&self, limits: Limits) -> Limits {
        Limits {
            max_prompt_length: limits.max_prompt_length.map(|max| max - self.longest()),
            ..limits
        }
    }

    fn longest(&self) -> usize {
        self.desirable.len().max(self.undesirable.len())
    }
}
