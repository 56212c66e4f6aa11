//! Special tokens and chat templates, from the files that Hugging Face folders spread them over.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::template::ChatTemplate;
use crate::weights::read_json;
use crate::{Error, Result};

/// The names that a chat template may use as variables.
const NAMES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The folder's optional JSON files.
pub(super) struct Files {
    folder: String,
    tokenizer_config: Value,
    special_tokens_map: Value,
    config: Value,
    generation_config: Value,
}

/// The special tokens, by role.
#[derive(Debug)]
pub(super) struct Special {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) pad: Option<u32>,
    pub(super) stop: Vec<u32>,
    /// `bos_token` → `<s>` and so on: variables of the chat template.
    pub(super) names: BTreeMap<String, String>,
}

impl Files {
    pub(super) fn read(folder: &Path) -> Result<Files> {
        let read = |name: &str| -> Result<Value> {
            let path = folder.join(name);
            if !path.is_file() {
                return Ok(Value::Null);
            }
            read_json(&path)
        };
        Ok(Files {
            folder: folder.display().to_string(),
            tokenizer_config: read("tokenizer_config.json")?,
            special_tokens_map: read("special_tokens_map.json")?,
            config: read("config.json")?,
            generation_config: read("generation_config.json")?,
        })
    }

    /// The special tokens' texts: `tokenizer_config.json` first, then `special_tokens_map.json`.
    pub(super) fn token_names(&self) -> BTreeMap<String, String> {
        let content = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Object(token) => token.get("content")?.as_str().map(str::to_owned),
            _ => None,
        };
        NAMES
            .iter()
            .filter_map(|name| {
                let text = [&self.tokenizer_config, &self.special_tokens_map]
                    .into_iter()
                    .find_map(|file| content(file.get(name)?))?;
                Some(((*name).to_owned(), text))
            })
            .collect()
    }

    /// The chat template and, where there is one, the template for conversations with tools.
    ///
    /// Files come before `tokenizer_config.json`, as in transformers.
    pub(super) fn templates(
        &self,
        folder: &Path,
    ) -> Result<(Option<ChatTemplate>, Option<ChatTemplate>)> {
        let from_file = |name: &str| -> Result<Option<ChatTemplate>> {
            let path = folder.join(name);
            if !path.is_file() {
                return Ok(None);
            }
            let source = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
            ChatTemplate::new(&source)
                .map(Some)
                .map_err(|e| e.context(path.display()))
        };
        if let Some(template) = from_file("chat_template.jinja")? {
            return Ok((
                Some(template),
                from_file("additional_chat_templates/tool_use.jinja")?,
            ));
        }
        let compile = |source: &Value| -> Result<ChatTemplate> {
            let named = format!("{}: tokenizer_config.json: chat_template", self.folder);
            match source.as_str() {
                Some(source) => ChatTemplate::new(source).map_err(|e| e.context(named)),
                None => Err(Error::model(format!("{named} is not a string"))),
            }
        };
        match self.tokenizer_config.get("chat_template") {
            None | Some(Value::Null) => Ok((None, None)),
            Some(Value::Array(named)) => {
                let find = |name: &str| {
                    named
                        .iter()
                        .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
                        .and_then(|entry| entry.get("template"))
                        .map(compile)
                        .transpose()
                };
                Ok((find("default")?, find("tool_use")?))
            }
            Some(source) => Ok((Some(compile(source)?), None)),
        }
    }
}

impl Special {
    /// Looks the tokens up: their texts first, then the ids of `config.json` and `generation_config.json`.
    pub(super) fn resolve(files: &Files, inner: &tokenizers::Tokenizer) -> Result<Special> {
        let names = files.token_names();
        let find = |name: &str, key: &str| -> Result<Option<u32>> {
            if let Some(text) = names.get(name) {
                return match inner.token_to_id(text) {
                    Some(id) => Ok(Some(id)),
                    None => Err(Error::model(format!(
                        "{}: {name} {text:?} is not in the vocabulary of tokenizer.json",
                        files.folder
                    ))),
                };
            }
            Ok([&files.config, &files.generation_config]
                .into_iter()
                .find_map(|file| ids(file, key).first().copied()))
        };
        let eos = find("eos_token", "eos_token_id")?;
        let mut stop: Vec<u32> = eos.into_iter().collect();
        for file in [&files.generation_config, &files.config] {
            for id in ids(file, "eos_token_id") {
                if !stop.contains(&id) {
                    stop.push(id);
                }
            }
        }
        Ok(Special {
            bos: find("bos_token", "bos_token_id")?,
            eos,
            // Many folders name a padding token that was never added; nothing here needs it.
            pad: find("pad_token", "pad_token_id").unwrap_or(None),
            stop,
            names,
        })
    }
}

/// An id or a list of ids; `null` and a missing key are none.
fn ids(file: &Value, key: &str) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match file.get(key) {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}
