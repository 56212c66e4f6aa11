//! Values of a line: each of the right type, or a reason that names the field and shows the value.

use halo_loss::Label;
use serde::Deserialize;
use serde_json::Value;

use super::{Content, Mark};
use crate::tokenizer::Message;

/// A line as an object with known keys.
pub(crate) fn object<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, String> {
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
pub(in crate::data) fn content(name: &str, value: Option<Value>) -> Result<Content, String> {
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
pub(in crate::data) fn chat(name: &str, value: &Value) -> Result<Vec<Message>, String> {
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
pub(in crate::data) fn tokens(name: &str, value: Option<&Value>) -> Result<Content, String> {
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
pub(in crate::data) fn tools(value: Option<Value>) -> Result<Option<Value>, String> {
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

/// A label.
pub(super) fn mark(name: &str, value: &Value) -> Result<Mark, String> {
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

/// Text.
pub(super) fn string(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("`{name}` must be a string, not {}", shown(&other))),
    }
}

/// The beginning of a text.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
