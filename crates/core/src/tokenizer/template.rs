//! Chat templates: Jinja as `transformers` configures it.
//!
//! The same trimming of blocks, the same functions (`raise_exception`, `strftime_now`), a `tojson` that writes what Python's
//! `json.dumps` writes, Python's string methods, and `None`, `True`, `False` printed as Python prints them.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::clock::Day;
use super::{Message, json};
use crate::{Error, Result};

/// Steps that a template may take: far above any real conversation, far below forever.
const FUEL: u64 = 50_000_000;
const NAME: &str = "chat";

/// A compiled chat template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    source: String,
}

/// What a template may see besides the messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// Whether to end with the header of an assistant's turn.
    pub add_generation_prompt: bool,
    /// JSON schemas of tools, as the data file has them.
    pub tools: Option<&'a serde_json::Value>,
    /// More variables (`chat_template_kwargs`), such as `enable_thinking`.
    pub variables: Option<&'a Message>,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong in it, with its line.
    pub fn new(source: &str) -> Result<ChatTemplate> {
        Self::compile(source, Day::today())
    }

    /// The same template, to which today is `day`.
    #[must_use]
    pub fn with_day(mut self, day: Day) -> ChatTemplate {
        // The source compiled when this template was made.
        if let Ok(template) = Self::compile(&self.source, day) {
            self = template;
        }
        self
    }

    /// The template as the folder has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation. `names` are the special tokens' variables.
    ///
    /// # Errors
    /// The template's own `raise_exception`, or an operation that it cannot do on these messages.
    pub(super) fn render(
        &self,
        messages: &[Message],
        extras: &Extras<'_>,
        names: &BTreeMap<String, String>,
    ) -> Result<String> {
        let mut context: BTreeMap<&str, Value> = names
            .iter()
            .map(|(name, content)| (name.as_str(), Value::from(content.as_str())))
            .collect();
        context.insert("add_generation_prompt", extras.add_generation_prompt.into());
        context.insert(
            "tools",
            extras.tools.map_or(Value::from(()), Value::from_serialize),
        );
        context.insert("documents", Value::from(()));
        for (name, value) in extras.variables.into_iter().flatten() {
            context.insert(name, Value::from_serialize(value));
        }
        let messages: Vec<Message> = messages.iter().map(visible).collect();
        context.insert("messages", Value::from_serialize(&messages));
        let template = self.environment.get_template(NAME).map_err(refused)?;
        template.render(context).map_err(refused)
    }

    fn compile(source: &str, day: Day) -> Result<ChatTemplate> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
            Err::<Value, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", move |format: String| day.format(&format));
        environment.add_filter("tojson", tojson);
        environment.set_formatter(|out, _, value| match value.kind() {
            ValueKind::None => Ok(out.write_str("None")?),
            ValueKind::Bool => Ok(out.write_str(if value.is_true() { "True" } else { "False" })?),
            // As Jinja prints it, whatever the auto-escape rules say.
            ValueKind::Undefined => Ok(()),
            _ => Ok(write!(out, "{value}")?),
        });
        environment
            .add_template_owned(NAME, without_generation_marks(source))
            .map_err(|e| {
                Error::model(format!("the chat template does not compile: {}", words(&e)))
            })?;
        Ok(ChatTemplate {
            environment: Arc::new(environment),
            source: source.to_owned(),
        })
    }
}

/// A message as templates expect it: keys without a value are absent, reasoning stands under all its names.
fn visible(message: &Message) -> Message {
    let mut shown: Message = message
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let reasoning = ["reasoning_content", "thinking", "reasoning"]
        .iter()
        .find_map(|name| shown.get(*name).cloned());
    if let Some(reasoning) = reasoning {
        shown.insert("reasoning_content".into(), reasoning.clone());
        shown.entry("thinking").or_insert(reasoning);
    }
    shown
}

/// Turns `{% generation %}` and `{% endgeneration %}`, which only mark the assistant's text, into comments: they trim alike.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(len) = rest[start..].find("%}") else {
            break;
        };
        let (tag, end) = (&rest[start + 2..start + len], start + len + 2);
        out.push_str(&rest[..start]);
        let (left, tag) = split_sign(tag, true);
        let (right, name) = split_sign(tag, false);
        match name.trim() {
            "generation" | "endgeneration" => out.push_str(&format!("{{#{left} {right}#}}")),
            _ => out.push_str(&rest[start..end]),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Splits the sign of white-space control (`-` or `+`) off a tag's beginning or end.
fn split_sign(tag: &str, front: bool) -> (&str, &str) {
    let signs = ['-', '+'];
    match front {
        true if tag.starts_with(signs) => tag.split_at(1),
        false if tag.ends_with(signs) => {
            let (name, sign) = tag.split_at(tag.len() - 1);
            (sign, name)
        }
        _ => ("", tag),
    }
}

fn tojson(value: Value, options: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let sort: Option<bool> = options.get("sort_keys")?;
    let separators: Option<(String, String)> = match options.get::<Option<Value>>("separators")? {
        Some(pair) => Some((
            pair.get_item_by_index(0)?.to_string(),
            pair.get_item_by_index(1)?.to_string(),
        )),
        None => None,
    };
    options.assert_all_used()?;
    let value = serde_json::to_value(&value)
        .map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    let style = json::Style {
        indent,
        ascii: ascii.unwrap_or(false),
        sort: sort.unwrap_or(false),
        separators,
    };
    Ok(Value::from_safe_string(json::dumps(&value, &style)))
}

fn refused(error: minijinja::Error) -> Error {
    Error::data(format!("the chat template refuses: {}", words(&error)))
}

/// The error in the template's words, with its line.
fn words(error: &minijinja::Error) -> String {
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{detail} (template line {line})"),
        None => detail,
    }
}
