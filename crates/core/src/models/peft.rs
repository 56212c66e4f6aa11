//! PEFT's adapter folder: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::adapter::LoraConfig;
use crate::hub;
use crate::weights::{Weights, read_json};
use crate::{Error, Result};

pub(crate) const CONFIG: &str = "adapter_config.json";
/// The key that names the base.
const BASE: &str = "base_model_name_or_path";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// The task of an adapter with a reward head.
const CLASSIFICATION: &str = "SEQ_CLS";

/// An adapter folder's contents.
pub(super) struct Stored {
    pub(super) lora: LoraConfig,
    pub(super) base: PathBuf,
    pub(super) weights: Weights,
    /// Whether a reward head was trained beside the adapters.
    pub(super) score_head: bool,
}

/// Reads an adapter folder; `None` if the folder holds no adapter.
///
/// # Errors
/// Malformed JSON, an adapter other than plain LoRA, or a base model that is not a folder on this machine.
pub(super) fn read(folder: &Path) -> Result<Option<Stored>> {
    let path = folder.join(CONFIG);
    if !path.is_file() {
        return Ok(None);
    }
    let json: Value = read_json(&path)?;
    let wrong = |problem: String| Error::model(format!("{}: {problem}", path.display()));
    if json.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return Err(wrong(format!(
            "peft_type = {}; known: \"LORA\"",
            json["peft_type"]
        )));
    }
    for flag in ["use_dora", "use_rslora", "fan_in_fan_out"] {
        if json.get(flag).and_then(Value::as_bool) == Some(true) {
            return Err(wrong(format!("{flag} = true is not supported")));
        }
    }
    if !json.get("bias").is_none_or(|bias| bias == "none") {
        return Err(wrong(format!("bias = {}; known: \"none\"", json["bias"])));
    }
    let rank = json
        .get("r")
        .and_then(Value::as_u64)
        .ok_or_else(|| wrong("r is missing".into()))?;
    let alpha = json
        .get("lora_alpha")
        .and_then(Value::as_f64)
        .ok_or_else(|| wrong("lora_alpha is missing".into()))?;
    let target_modules = match json.get("target_modules") {
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(String::from)
            .collect(),
        Some(Value::String(word)) if word == "all-linear" => {
            LoraConfig::all_linear(1, 1.0).target_modules
        }
        other => {
            return Err(wrong(format!(
                "target_modules = {other:?}; allowed: a list of names"
            )));
        }
    };
    let layers = match json.get("layers_to_transform") {
        Some(Value::Array(layers)) => Some(
            layers
                .iter()
                .filter_map(Value::as_u64)
                .map(|l| l as usize)
                .collect(),
        ),
        Some(Value::Number(layer)) => layer.as_u64().map(|layer| vec![layer as usize]),
        _ => None,
    };
    let base = json
        .get(BASE)
        .and_then(Value::as_str)
        .ok_or_else(|| wrong(format!("{BASE} is missing")))?;
    let base = [folder.join(base), PathBuf::from(base)]
        .into_iter()
        .chain(hub::cached_model(base))
        .find(|candidate| candidate.join("config.json").is_file())
        .ok_or_else(|| wrong(format!("the base model \"{base}\" is not a folder here")))?;
    let weights = Weights::from_files([folder.join(WEIGHTS)])?;
    let lora = LoraConfig {
        rank: rank as usize,
        alpha,
        target_modules,
        layers,
    };
    let task = json.get("task_type").and_then(Value::as_str);
    Ok(Some(Stored {
        lora,
        base,
        weights,
        score_head: task == Some(CLASSIFICATION),
    }))
}

/// The base model that an adapter folder names, if the folder holds an adapter that can be read.
pub fn base_name(folder: &Path) -> Option<String> {
    let json: Value = read_json(&folder.join(CONFIG)).ok()?;
    Some(json.get(BASE)?.as_str()?.to_owned())
}

/// `adapter_config.json` as PEFT reads it.
pub(crate) fn config_json(lora: &LoraConfig, base: &Path, score_head: bool) -> Value {
    // A model from a hub keeps its name: a path into this machine's cache would help nobody else.
    let base = hub::name_of(base).unwrap_or_else(|| base.display().to_string());
    json!({
        "peft_type": "LORA",
        "task_type": if score_head { CLASSIFICATION } else { "CAUSAL_LM" },
        (BASE): base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "target_modules": lora.target_modules,
        "layers_to_transform": lora.layers,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "use_rslora": false,
        "use_dora": false,
        "modules_to_save": score_head.then_some(["score"]),
    })
}
