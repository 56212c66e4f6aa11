//! Models: one decoder, and one small mapping file per Hugging Face family.

use std::path::Path;

use serde_json::Value;

use crate::weights::read_json;
use crate::{Error, Result};

mod adapter;
mod block;
mod cache;
mod config;
mod decoder;
mod head;
pub(crate) mod linear;
mod llama;
mod load;
mod mistral;
mod norm;
pub(crate) mod peft;
mod qwen2;
mod qwen3;
mod rope;
pub(crate) mod save;
mod scalar;
mod view;

pub use adapter::LoraConfig;
pub use cache::Cache;
pub use config::DecoderConfig;
pub use decoder::{Decoder, Tape};
pub use load::{Loaded, Readout, Training, load, load_for};
pub use peft::base_name;
pub use save::{SaveDtype, export, export_adapter, save_adapter, save_model};

/// The families: a `model_type` and its mapping from `config.json`. One word adds a family.
type Family = (&'static str, fn(&Value) -> Result<DecoderConfig>);
const FAMILIES: &[Family] = &[
    (llama::MODEL_TYPE, llama::config),
    (mistral::MODEL_TYPE, mistral::config),
    (qwen2::MODEL_TYPE, qwen2::config),
    (qwen3::MODEL_TYPE, qwen3::config),
];

/// Reads a model folder's `config.json`.
///
/// # Errors
/// No such file, malformed JSON, an unknown `model_type` (the known ones are listed), or a key that the family cannot use.
pub fn read_config(folder: &Path) -> Result<(DecoderConfig, Value)> {
    let path = folder.join("config.json");
    let json: Value = read_json(&path)?;
    let known = || {
        FAMILIES
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let Some(kind) = json.get("model_type").and_then(Value::as_str) else {
        return Err(Error::model(format!(
            "{}: model_type is missing; known: {}",
            path.display(),
            known()
        )));
    };
    match FAMILIES.iter().find(|(name, _)| *name == kind) {
        Some((_, map)) => {
            let mut config = map(&json)?;
            let architecture = json.pointer("/architectures/0").and_then(Value::as_str);
            config.score_head = architecture.is_some_and(|name| name.ends_with(save::CLASSIFIER));
            Ok((config, json))
        }
        None => Err(Error::model(format!(
            "{}: unknown architecture \"{kind}\"; known: {}",
            path.display(),
            known()
        ))),
    }
}
