//! Examples to tokens, with the prompt's tokens as an exact prefix of every sequence.

use std::sync::Arc;

use halo_loss::Label;
use serde::{Deserialize, Serialize};

use super::example::{Answers, Columns, Content, Example, Mark};
use crate::Result;
use crate::tokenizer::{Extras, Message, Tokenizer};
use crate::{Error, tokenizer};

/// Where a completion's tokens begin if the tokenizer, given prompt and completion in one piece, joins their border.
///
/// Both ways agree wherever the prompt's tokens are a prefix of the whole's, which is nearly always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// The prompt keeps its own tokens, as it has them at inference, and the completion is tokenised apart.
    #[default]
    Exact,
    /// As TRL 1.16: the whole's tokens stand, and the completion begins where they leave the prompt's.
    Trl,
}

/// An example as tokens.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) id: Option<String>,
    pub(super) prompt: Vec<u32>,
    pub(super) prompt_text: Arc<str>,
    /// One, or chosen and rejected, or a list.
    pub(super) answers: Vec<Answer>,
    /// Whether they stood in a list: then a number tells their ids apart.
    pub(super) listed: bool,
    pub(super) mark: Option<Mark>,
    pub(super) border: Border,
}

/// One completion.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) tokens: Vec<u32>,
    pub(super) text: String,
    /// Of a pair: its side.
    pub(super) side: Option<Label>,
    /// Nothing was written, whatever a template puts around it.
    pub(super) empty: bool,
    /// What else the line says of it.
    pub(super) columns: Columns,
}

/// How prompt and completion met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Border {
    /// The prompt's tokens are a prefix of the whole's.
    Clean,
    /// The tokenizer joined text across the border.
    Joined,
    /// The chat template renders the prompt alone differently from the prompt in the whole.
    Differs,
}

/// Tokenises examples.
pub(super) struct Encoder<'a> {
    pub(super) tokenizer: Option<&'a Tokenizer>,
    pub(super) boundary: Boundary,
    pub(super) keep_texts: bool,
}

/// A prompt or a whole as text and tokens.
struct Piece {
    text: String,
    tokens: Vec<u32>,
}

impl Encoder<'_> {
    /// Tokenises one example.
    ///
    /// # Errors
    /// Text without a tokenizer or an end-of-sequence token, a conversation without a chat template, or one that the template
    /// refuses.
    pub(super) fn encode(&self, example: Example) -> Result<Encoded> {
        let Example {
            id,
            prompt,
            answers,
            columns,
            tools,
            variables,
        } = example;
        let extras = Extras {
            add_generation_prompt: false,
            tools: tools.as_ref(),
            variables: variables.as_ref(),
        };
        let listed = matches!(answers, Answers::List(_));
        let (sides, mark) = match answers {
            Answers::Plain(content) => (vec![(content, None)], None),
            Answers::Labelled(content, mark) => (vec![(content, None)], Some(mark)),
            Answers::Pair { chosen, rejected } => (
                vec![
                    (chosen, Some(Label::Desirable)),
                    (rejected, Some(Label::Undesirable)),
                ],
                None,
            ),
            Answers::List(answers) => {
                let sides = answers.into_iter().map(|content| (content, None));
                (sides.collect(), None)
            }
        };
        let (prompt, mut answers, border) = match prompt {
            Some(Content::Tokens(prompt)) => self.tokens(prompt, sides)?,
            Some(Content::Chat(prompt)) => self.chat(&prompt, sides, &extras)?,
            Some(Content::Text(prompt)) => self.text(&prompt, sides)?,
            None => self.text("", sides)?,
        };
        for (answer, columns) in answers.iter_mut().zip(columns) {
            answer.columns = columns;
        }
        Ok(Encoded {
            id,
            prompt: prompt.tokens,
            prompt_text: self.kept(prompt.text).into(),
            answers,
            listed,
            mark,
            border,
        })
    }

    fn tokens(
        &self,
        prompt: Vec<u32>,
        sides: Vec<(Content, Option<Label>)>,
    ) -> Result<(Piece, Vec<Answer>, Border)> {
        let decode = |tokens: &[u32]| match self.tokenizer {
            Some(tokenizer) if self.keep_texts => tokenizer.decode(tokens, true),
            _ => Ok(String::new()),
        };
        let answers = sides
            .into_iter()
            .map(|(content, side)| {
                let Content::Tokens(tokens) = content else {
                    return Err(Error::internal("token ids and text in one example"));
                };
                Ok(Answer {
                    text: decode(&tokens)?,
                    empty: tokens.is_empty(),
                    tokens,
                    side,
                    columns: Columns::default(),
                })
            })
            .collect::<Result<_>>()?;
        let prompt = Piece {
            text: decode(&prompt)?,
            tokens: prompt,
        };
        Ok((prompt, answers, Border::Clean))
    }

    fn text(
        &self,
        prompt: &str,
        sides: Vec<(Content, Option<Label>)>,
    ) -> Result<(Piece, Vec<Answer>, Border)> {
        let tokenizer = self.tokenizer()?;
        let eos = tokenizer.eos().ok_or_else(|| {
            Error::model(
                "the model folder names no end-of-sequence token (eos_token in tokenizer_config.json, or eos_token_id in \
                 config.json), which every completion needs",
            )
        })?;
        let prompt = Piece {
            text: prompt.to_owned(),
            tokens: tokenizer.encode_start(prompt)?,
        };
        let mut wholes = Vec::with_capacity(sides.len());
        for (content, side) in sides {
            let Content::Text(completion) = content else {
                return Err(Error::internal("text and messages in one example"));
            };
            let text = format!("{}{completion}", prompt.text);
            let mut tokens = tokenizer.encode_start(&text)?;
            if tokens.last() != Some(&eos) {
                tokens.push(eos);
            }
            wholes.push((Piece { text, tokens }, side, completion.is_empty()));
        }
        self.part(prompt, wholes, Some(eos))
    }

    fn chat(
        &self,
        prompt: &[Message],
        sides: Vec<(Content, Option<Label>)>,
        extras: &Extras<'_>,
    ) -> Result<(Piece, Vec<Answer>, Border)> {
        let tokenizer = self.tokenizer()?;
        let rendered = |messages: &[Message], add_generation_prompt| -> Result<Piece> {
            let extras = Extras {
                add_generation_prompt,
                ..*extras
            };
            let text = tokenizer.render(messages, &extras)?;
            // The template writes every special token itself.
            let tokens = tokenizer.encode(&text)?;
            Ok(Piece { text, tokens })
        };
        let start = rendered(prompt, true)?;
        let mut wholes = Vec::with_capacity(sides.len());
        for (content, side) in sides {
            let Content::Chat(completion) = content else {
                return Err(Error::internal("text and messages in one example"));
            };
            let empty = completion.iter().all(is_empty);
            let messages = [prompt, &completion].concat();
            wholes.push((rendered(&messages, false)?, side, empty));
        }
        self.part(start, wholes, None)
    }

    /// Parts wholes into the prompt that they share and their completions.
    fn part(
        &self,
        mut prompt: Piece,
        mut wholes: Vec<(Piece, Option<Label>, bool)>,
        eos: Option<u32>,
    ) -> Result<(Piece, Vec<Answer>, Border)> {
        let tokenizer = self.tokenizer()?;
        let mut border = Border::Clean;
        let mut cut = prompt.tokens.len();
        for (whole, _, _) in &mut wholes {
            if whole.tokens.starts_with(&prompt.tokens) {
                continue;
            }
            match whole.text.strip_prefix(&prompt.text) {
                Some(completion) if self.boundary == Boundary::Exact => {
                    let apart = tokenizer.encode_continuation(completion)?;
                    whole.tokens = [prompt.tokens.as_slice(), &apart].concat();
                    if let Some(eos) = eos.filter(|eos| whole.tokens.last() != Some(eos)) {
                        whole.tokens.push(eos);
                    }
                    border = border.max(Border::Joined);
                }
                within => {
                    let shared = prompt
                        .tokens
                        .iter()
                        .zip(&whole.tokens)
                        .take_while(|(a, b)| a == b);
                    cut = cut.min(shared.count());
                    border = border.max(match within {
                        Some(_) => Border::Joined,
                        None => Border::Differs,
                    });
                }
            }
        }
        prompt.tokens.truncate(cut);
        let answers = wholes
            .into_iter()
            .map(|(whole, side, empty)| Answer {
                tokens: whole.tokens[cut..].to_vec(),
                text: self.kept(match whole.text.strip_prefix(&prompt.text) {
                    Some(completion) => completion.to_owned(),
                    None => whole.text,
                }),
                side,
                empty,
                columns: Columns::default(),
            })
            .collect();
        Ok((prompt, answers, border))
    }

    fn tokenizer(&self) -> Result<&tokenizer::Tokenizer> {
        self.tokenizer.ok_or_else(|| {
            Error::data("the data is text, and there is no tokenizer; give token ids (prompt_ids, completion_ids)")
        })
    }

    fn kept(&self, text: String) -> String {
        match self.keep_texts {
            true => text,
            false => String::new(),
        }
    }
}

/// Whether a message says nothing and calls nothing.
fn is_empty(message: &Message) -> bool {
    let silent = match message.get("content") {
        Some(serde_json::Value::String(text)) => text.is_empty(),
        Some(serde_json::Value::Array(parts)) => parts.is_empty(),
        _ => true,
    };
    silent && !message.contains_key("tool_calls")
}
