//! Prompts without completions, for generation and evaluation.

use std::path::Path;

use serde_json::{Map, Value};

use super::example::{Content, field};
use super::lines::{Lines, Place};
use crate::tokenizer::{Extras, Message, Tokenizer};
use crate::{Error, Result};

/// A prompt, ready for a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// The line's `id`, or `FILE:LINE`.
    pub id: String,
    /// What the model reads, as text: a conversation is rendered, up to the header of the assistant's turn.
    pub text: String,
    /// What the model reads.
    pub tokens: Vec<u32>,
    /// The whole line, for judges that need more of it: a reference answer, say. Empty for plain text.
    pub fields: Map<String, Value>,
}

impl Prompt {
    /// A prompt of plain text.
    ///
    /// # Errors
    /// An empty prompt for a tokenizer that begins no sequence by itself.
    pub fn text(tokenizer: &Tokenizer, id: &str, text: &str) -> Result<Prompt> {
        let mut tokens = tokenizer.encode_start(text)?;
        if tokens.is_empty() {
            tokens.extend(tokenizer.bos());
        }
        Self::new(id, text.to_owned(), tokens)
    }

    /// A conversation that the assistant is to continue.
    ///
    /// # Errors
    /// No chat template, or one that refuses the conversation.
    pub fn chat(
        tokenizer: &Tokenizer,
        id: &str,
        messages: &[Message],
        extras: &Extras<'_>,
    ) -> Result<Prompt> {
        let extras = Extras {
            add_generation_prompt: true,
            ..*extras
        };
        let text = tokenizer.render(messages, &extras)?;
        let tokens = tokenizer.encode(&text)?;
        Self::new(id, text, tokens)
    }

    fn new(id: &str, text: String, tokens: Vec<u32>) -> Result<Prompt> {
        if tokens.is_empty() {
            return Err(Error::data(
                "the prompt is empty, and the tokenizer has no token to begin with",
            ));
        }
        Ok(Prompt {
            id: id.to_owned(),
            text,
            tokens,
            fields: Map::new(),
        })
    }
}

/// Reads a prompts file: JSONL with `prompt` (text or messages), `messages` or `prompt_ids`, or plain text, one prompt a line.
///
/// A file whose first line begins with `{` is JSONL. An assistant's answer at the end of `messages` is left out.
///
/// # Errors
/// A malformed line, named by number; a file without prompts.
pub fn load_prompts(path: impl AsRef<Path>, tokenizer: &Tokenizer) -> Result<Vec<Prompt>> {
    let path = path.as_ref();
    let mut lines = Lines::open(path)?;
    let mut prompts = Vec::new();
    let mut json = None;
    while let Some(line) = lines.next()? {
        let place = Place {
            path: path.to_owned(),
            line: line.number,
        };
        let id = super::collect::default_id(&place);
        let prompt = match *json.get_or_insert(line.text.trim_start().starts_with('{')) {
            true => from_json(&line.text, &id, tokenizer),
            false => Prompt::text(tokenizer, &id, &line.text),
        };
        prompts.push(prompt.map_err(|e| place.within(e))?);
    }
    match prompts.is_empty() {
        true => Err(Error::data(format!(
            "{}: no prompts: the file is empty",
            path.display()
        ))),
        false => Ok(prompts),
    }
}

fn from_json(text: &str, id: &str, tokenizer: &Tokenizer) -> Result<Prompt> {
    let fields: Map<String, Value> = field::object(text).map_err(Error::data)?;
    let id = match fields.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => id.to_owned(),
    };
    let content = content(&fields).map_err(Error::data)?;
    let mut prompt = match content {
        Content::Text(text) => Prompt::text(tokenizer, &id, &text)?,
        Content::Tokens(tokens) => {
            let text = tokenizer.decode(&tokens, true)?;
            Prompt::new(&id, text, tokens)?
        }
        Content::Chat(messages) => {
            let tools = field::tools(fields.get("tools").cloned()).map_err(Error::data)?;
            let extras = Extras {
                add_generation_prompt: true,
                tools: tools.as_ref(),
                variables: fields
                    .get("chat_template_kwargs")
                    .and_then(Value::as_object),
            };
            Prompt::chat(tokenizer, &id, &messages, &extras)?
        }
    };
    prompt.fields = fields;
    Ok(prompt)
}

fn content(fields: &Map<String, Value>) -> Result<Content, String> {
    if let Some(ids) = fields.get("prompt_ids") {
        return field::tokens("prompt_ids", Some(ids));
    }
    if let Some(prompt) = fields.get("prompt") {
        return field::content("prompt", Some(prompt.clone()));
    }
    let Some((name, messages)) = ["messages", "conversations"]
        .iter()
        .find_map(|name| Some((*name, fields.get(*name)?)))
    else {
        return Err("`prompt` is missing".into());
    };
    let mut messages = field::chat(name, messages)?;
    while messages.len() > 1
        && messages.last().and_then(|last| last.get("role")?.as_str()) == Some("assistant")
    {
        messages.pop();
    }
    Ok(Content::Chat(messages))
}
