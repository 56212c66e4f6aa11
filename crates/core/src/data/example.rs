//! What a line says: one of the known shapes, every value of the right type.

use halo_loss::Label;
use serde::Deserialize;
use serde_json::Value;

use crate::tokenizer::Message;

mod columns;
pub(super) mod field;

pub(super) use columns::Columns;
use columns::columns;
use field::{chat, content, excerpt, mark, object, shown, string, tokens, tools};

/// One line of a data file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Example {
    pub(super) id: Option<String>,
    /// `None` for a text that is all completion.
    pub(super) prompt: Option<Content>,
    pub(super) answers: Answers,
    /// Of each completion, in their order.
    pub(super) columns: Vec<Columns>,
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
    /// Any number of completions, which only their scores judge.
    List(Vec<Content>),
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
                      prompt + completions + scores; text; prompt_ids + completion_ids + label; \
                      prompt_ids + chosen_ids + rejected_ids";

/// The known keys. Deriving makes a key that appears twice an error; unknown keys are the user's own.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Line {
    id: Option<Value>,
    prompt: Option<Value>,
    completion: Option<Value>,
    completions: Option<Value>,
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
    score: Option<Value>,
    scores: Option<Value>,
    chosen_score: Option<Value>,
    rejected_score: Option<Value>,
    score_chosen: Option<Value>,
    score_rejected: Option<Value>,
    weight: Option<Value>,
    beta_scale: Option<Value>,
    old_logps: Option<Value>,
    chosen_old_logps: Option<Value>,
    rejected_old_logps: Option<Value>,
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
        if line.completions.is_some() {
            return Err("`completions` and `chosen` are both there; give one of the shapes".into());
        }
        let chosen = content("chosen", line.chosen.take())?;
        let rejected = content("rejected", line.rejected.take())?;
        pair(line.prompt.take(), chosen, rejected)?
    } else if let Some(completions) = line.completions.take() {
        if line.completion.is_some() {
            return Err("`completion` and `completions` are both there; give one".into());
        }
        if mark.is_some() {
            return Err(
                "a label cannot judge several `completions`; give `scores`, or a line for each"
                    .into(),
            );
        }
        let prompt = content("prompt", line.prompt.take())?;
        let completions = list(&prompt, completions)?;
        (Some(prompt), Answers::List(completions))
    } else if line.completion.is_some() || line.prompt.is_some() {
        let prompt = content("prompt", line.prompt.take())?;
        let completion = content("completion", line.completion.take())?;
        alike(&prompt, "completion", &completion)?;
        (Some(prompt), judged(completion))
    } else if let Some(messages) = line.messages.take() {
        split("messages", chat("messages", &messages)?).map(|(x, y)| (Some(x), judged(y)))?
    } else if let Some(messages) = line.conversations.take() {
        split("conversations", chat("conversations", &messages)?)
            .map(|(x, y)| (Some(x), judged(y)))?
    } else if let Some(text) = line.text.take() {
        (None, judged(Content::Text(string("text", text)?)))
    } else {
        return Err(format!(
            "none of the known shapes ({SHAPES}); its keys: {}",
            keys(text)
        ));
    };

    let columns = columns(&line, prompt.as_ref(), &answers)?;
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
        columns,
        tools: tools(line.tools)?,
        variables,
    })
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

/// Several completions of one prompt.
fn list(prompt: &Content, value: Value) -> Result<Vec<Content>, String> {
    let Value::Array(items) = value else {
        return Err(format!(
            "`completions` must be a list of completions, not {}",
            shown(&value)
        ));
    };
    if items.is_empty() {
        return Err("`completions` is an empty list".into());
    }
    let read = |(index, item): (usize, Value)| {
        let name = format!("completions[{index}]");
        let answer = content(&name, Some(item))?;
        alike(prompt, &name, &answer)?;
        Ok(answer)
    };
    items.into_iter().enumerate().map(read).collect()
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

fn keys(text: &str) -> String {
    let map: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    match map.is_empty() {
        true => "none".into(),
        false => excerpt(&map.keys().cloned().collect::<Vec<_>>().join(", ")),
    }
}
