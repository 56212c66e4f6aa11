//! What a line says: one of the known shapes, every value of the right type.

use halo_loss::Label;
use serde::Deserialize;
use serde_json::Value;

use crate::tokenizer::Message;

/// One line of a data file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Example {
    pub(super) id: Option<String>,
    /// `None` for a text that is all completion.
    pub(super) prompt: Option<Content>,
    pub(super) answers: Answers,
    /// JSON schemas of tools, for the chat template.
    pub(super) tools: Option<Value>,
    /// More variables for the chat template.
    pub(super) variables: Option<Message>,
}

/// A prompt or a completion.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Text(String),
    Chat(Vec<Message>),
    Tokens(Vec<u32>),
}

/// The completions of a line, and what is said about them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answers {
    /// No judgement: a demonstration.
    Plain(Content),
    Labelled(Content, Mark),
    Pair {
        chosen: Content,
        rejected: Content,
    },
}

/// A label, and how it was written: 0 and −1 both mean undesirable, but not in one data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) label: Label,
    /// 0 or −1, if that is what was written.
    pub(super) number: Option<i64>,
}

/// The shapes, for messages.
const SHAPES: &str = "prompt + completion + label; prompt + chosen + rejected; messages + kto_tag; prompt + completion; \
                      text; prompt_ids + completion_ids + label; prompt_ids + chosen_ids + rejected_ids";

/// The known keys. Deriving makes a key that appears twice an error; unknown keys are the user's own.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Line {
    id: Option<Value>,
    prompt: Option<Value>,
    completion: Option<Value>,
    label: Option<Value>,
    kto_tag: Option<Value>,
    chosen: Option<Value>,
    rejected: Option<Value>,
    messages: Option<Value>,
    conversations: Option<Value>,
    text: Option<Value>,
    prompt_ids: Option<Value>,
    completion_ids: Option<Value>,
    chosen_ids: Option<Value>,
    rejected_ids: Option<Value>,
    tools: Option<Value>,
    chat_template_kwargs: Option<Value>,
}

/// Reads one line.
///
/// # Errors
/// The reason, to be put behind the line's place.
pub(super) fn parse(text: &str) -> Result<Example, String> {
    let mut line: Line = object(text)?;
    let mark = match (line.label.take(), line.kto_tag.take()) {
        (Some(_), Some(_)) => return Err("`label` and `kto_tag` are both there; give one".into()),
        (Some(value), None) => Some(mark("label", &value)?),
        (None, Some(value)) => Some(mark("kto_tag", &value)?),
        (None, None) => None,
    };
    let judged = |content: Content| match mark {
        Some(mark) => Answers::Labelled(content, mark),
        None => Answers::Plain(content),
    };

    let (prompt, answers) = if line.chosen_ids.is_some() || line.rejected_ids.is_some() {
        let prompt = tokens("prompt_ids", line.prompt_ids.as_ref())?;
        let chosen = tokens("chosen_ids", line.chosen_ids.as_ref())?;
        let rejected = tokens("rejected_ids", line.rejected_ids.as_ref())?;
        (Some(prompt), Answers::Pair { chosen, rejected })
    } else if line.completion_ids.is_some() || line.prompt_ids.is_some() {
        let prompt = tokens("prompt_ids", line.prompt_ids.as_ref())?;
        let completion = tokens("completion_ids", line.completion_ids.as_ref())?;
        (Some(prompt), judged(completion))
    } else if line.chosen.is_some() || line.rejected.is_some() {
        if line.completion.is_some() {
            return Err("`completion` and `chosen` are both there; give one of the shapes".into());
        }
        let chosen = content("chosen", line.chosen)?;
        let rejected = content("rejected", line.rejected)?;
        pair(line.prompt, chosen, rejected)?
    } else if line.completion.is_some() || line.prompt.is_some() {
        let prompt = content("prompt", line.prompt)?;
        let completion = content("completion", line.completion)?;
        alike(&prompt, "completion", &completion)?;
        (Some(prompt), judged(completion))
    } else if let Some(messages) = line.messages {
        split("messages", chat("messages", &messages)?).map(|(x, y)| (Some(x), judged(y)))?
    } else if let Some(messages) = line.conversations {
        split("conversations", chat("conversations", &messages)?)
            .map(|(x, y)| (Some(x), judged(y)))?
    } else if let Some(text) = line.text {
        (None, judged(Content::Text(string("text", text)?)))
    } else {
        return Err(format!(
            "none of the known shapes ({SHAPES}); its keys: {}",
            keys(text)
        ));
    };

    let id = match line.id {
        None => None,
        Some(Value::String(id)) => Some(id),
        Some(Value::Number(id)) => Some(id.to_string()),
        Some(other) => {
            return Err(format!(
                "`id` must be a string or a number, not {}",
                shown(&other)
            ));
        }
    };
    let variables = match line.chat_template_kwargs {
        None => None,
        Some(Value::Object(variables)) => Some(variables),
        Some(other) => {
            return Err(format!(
                "`chat_template_kwargs` must be an object, not {}",
                shown(&other)
            ));
        }
    };
    Ok(Example {
        id,
        prompt,
        answers,
        tools: tools(line.tools)?,
        variables,
    })
}

/// A line as an object with known keys.
pub(super) fn object<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, String> {
    let start = text.trim_start();
    if !start.starts_with('{') {
        let hint = match start.starts_with('[') {
            true => "a list begins here, but each line must be one object (JSON Lines)".to_owned(),
            false => format!("each line must be a JSON object, not {}", excerpt(start)),
        };
        return Err(hint);
    }
    serde_json::from_str(text).map_err(|e| {
        // The place within the file is ours to say; serde's "line 1" would mislead.
        let full = e.to_string();
        let reason = full
            .rsplit_once(" at line ")
            .map_or(full.as_str(), |(reason, _)| reason);
        match e.classify() {
            serde_json::error::Category::Data => reason.to_owned(),
            serde_json::error::Category::Eof => {
                format!(
                    "not JSON: the line ends too early, at column {}",
                    e.column()
                )
            }
            _ => format!("not JSON: {reason} at column {}", e.column()),
        }
    })
}

/// Text or conversation, of the field `name`.
pub(super) fn content(name: &str, value: Option<Value>) -> Result<Content, String> {
    match value {
        None | Some(Value::Null) => Err(format!("`{name}` is missing")),
        Some(Value::String(text)) => Ok(Content::Text(text)),
        Some(list @ Value::Array(_)) => chat(name, &list).map(Content::Chat),
        Some(other) => Err(format!(
            "`{name}` must be a string or a list of messages, not {}",
            shown(&other)
        )),
    }
}

/// A list of messages; `from` and `value`, as ShareGPT writes them, become `role` and `content`.
pub(super) fn chat(name: &str, value: &Value) -> Result<Vec<Message>, String> {
    let Value::Array(items) = value else {
        return Err(format!(
            "`{name}` must be a list of messages, not {}",
            shown(value)
        ));
    };
    if items.is_empty() {
        return Err(format!("`{name}` is an empty list of messages"));
    }
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let place = format!("message {} of `{name}`", index + 1);
            let Value::Object(message) = item else {
                return Err(format!(
                    "{place} must be an object with role and content, not {}",
                    shown(item)
                ));
            };
            let mut message = message.clone();
            if !message.contains_key("role") {
                if let Some(Value::String(from)) = message.remove("from") {
                    let role = match from.as_str() {
                        "human" => "user",
                        "gpt" => "assistant",
                        other => other,
                    };
                    message.insert("role".into(), role.into());
                }
                if let Some(value) = message.remove("value") {
                    message.insert("content".into(), value);
                }
            }
            match message.get("role") {
                Some(Value::String(_)) => {}
                None => return Err(format!("{place}: `role` is missing")),
                Some(other) => {
                    return Err(format!(
                        "{place}: `role` must be a string, not {}",
                        shown(other)
                    ));
                }
            }
            match message.get("content") {
                Some(Value::String(_) | Value::Array(_)) => Ok(message),
                None | Some(Value::Null) if message.contains_key("tool_calls") => Ok(message),
                None => Err(format!("{place}: `content` is missing")),
                Some(other) => Err(format!(
                    "{place}: `content` must be a string, not {}",
                    shown(other)
                )),
            }
        })
        .collect()
}

/// A list of token ids.
pub(super) fn tokens(name: &str, value: Option<&Value>) -> Result<Content, String> {
    let items = match value {
        None | Some(Value::Null) => return Err(format!("`{name}` is missing")),
        Some(Value::Array(items)) => items,
        Some(other) => {
            return Err(format!(
                "`{name}` must be a list of token ids, not {}",
                shown(other)
            ));
        }
    };
    items
        .iter()
        .map(|item| {
            let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| format!("`{name}` must hold token ids, not {}", shown(item)))
        })
        .collect::<Result<_, _>>()
        .map(Content::Tokens)
}

/// Tools: a list, or a string that holds one, as data sets with fixed columns store it.
pub(super) fn tools(value: Option<Value>) -> Result<Option<Value>, String> {
    let value = match value {
        Some(Value::String(text)) => serde_json::from_str(&text)
            .map_err(|e| format!("`tools` is a string that is not JSON: {e}"))?,
        Some(value) => value,
        None => return Ok(None),
    };
    match value {
        Value::Null => Ok(None),
        Value::Array(tools) if tools.is_empty() => Ok(None),
        tools @ Value::Array(_) => Ok(Some(tools)),
        other => Err(format!("`tools` must be a list, not {}", shown(&other))),
    }
}

/// A value in a message, short.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", excerpt(&format!("{text:?}"))),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

fn mark(name: &str, value: &Value) -> Result<Mark, String> {
    let desirable = |yes: bool| match yes {
        true => Label::Desirable,
        false => Label::Undesirable,
    };
    match (value, value.as_i64()) {
        (Value::Bool(yes), _) => Ok(Mark {
            label: desirable(*yes),
            number: None,
        }),
        (_, Some(number @ (-1..=1))) => Ok(Mark {
            label: desirable(number == 1),
            number: (number != 1).then_some(number),
        }),
        _ => Err(format!(
            "`{name}` must be true, false, 1, 0 or -1, not {}",
            shown(value)
        )),
    }
}

/// A preference, whose prompt may be the beginning that both conversations (or texts) share.
fn pair(
    prompt: Option<Value>,
    chosen: Content,
    rejected: Content,
) -> Result<(Option<Content>, Answers), String> {
    let prompt = prompt
        .map(|value| content("prompt", Some(value)))
        .transpose()?;
    let (prompt, chosen, rejected) = match (prompt, chosen, rejected) {
        // Some sets add the prompt as text although both conversations contain it.
        (None | Some(Content::Text(_)), Content::Chat(chosen), Content::Chat(rejected)) => {
            let shared = chosen
                .iter()
                .zip(&rejected)
                .take_while(|(a, b)| a == b)
                .count();
            // Equal conversations still end in a completion.
            let cut = shared.min(chosen.len() - 1).min(rejected.len() - 1);
            if cut == 0 {
                return Err(
                    "`chosen` and `rejected` share no first message to be the prompt".into(),
                );
            }
            let (prompt, chosen) = chosen.split_at(cut);
            (
                Content::Chat(prompt.to_vec()),
                Content::Chat(chosen.to_vec()),
                Content::Chat(rejected[cut..].to_vec()),
            )
        }
        (None, Content::Text(chosen), Content::Text(rejected)) => {
            let mut cut = shared_text(&chosen, &rejected);
            // As TRL: a space belongs to the word behind it.
            if chosen[..cut].ends_with(' ') {
                cut -= 1;
            }
            if cut == 0 {
                return Err(
                    "`prompt` is missing, and `chosen` and `rejected` share no beginning".into(),
                );
            }
            (
                Content::Text(chosen[..cut].to_owned()),
                Content::Text(chosen[cut..].to_owned()),
                Content::Text(rejected[cut..].to_owned()),
            )
        }
        (None, ..) => return Err("`chosen` and `rejected` must both be text or both lists".into()),
        (Some(prompt), chosen, rejected) => (prompt, chosen, rejected),
    };
    alike(&prompt, "chosen", &chosen)?;
    alike(&prompt, "rejected", &rejected)?;
    Ok((Some(prompt), Answers::Pair { chosen, rejected }))
}

/// The length in bytes of the beginning that two texts share.
fn shared_text(a: &str, b: &str) -> usize {
    a.chars()
        .zip(b.chars())
        .take_while(|(a, b)| a == b)
        .map(|(c, _)| c.len_utf8())
        .sum()
}

/// A conversation is its last message, an assistant's, and the prompt before it.
fn split(name: &str, mut messages: Vec<Message>) -> Result<(Content, Content), String> {
    let role = |message: &Message| message.get("role").and_then(Value::as_str) == Some("assistant");
    match messages.pop() {
        Some(last) if role(&last) && !messages.is_empty() => {
            Ok((Content::Chat(messages), Content::Chat(vec![last])))
        }
        _ => Err(format!(
            "`{name}` must end with an assistant's message, behind at least one other"
        )),
    }
}

fn alike(prompt: &Content, name: &str, completion: &Content) -> Result<(), String> {
    match (prompt, completion) {
        (Content::Chat(_), Content::Text(_)) => Err(format!(
            "`prompt` is a list of messages, but `{name}` is text; give both in one form"
        )),
        (Content::Text(_), Content::Chat(_)) => Err(format!(
            "`prompt` is text, but `{name}` is a list of messages; give both in one form"
        )),
        _ => Ok(()),
    }
}

fn string(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("`{name}` must be a string, not {}", shown(&other))),
    }
}

fn keys(text: &str) -> String {
    let map: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    match map.is_empty() {
        true => "none".into(),
        false => excerpt(&map.keys().cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// The beginning of a text.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
