//! The `qwen3` family: norms on query and key heads, an explicit head dimension.

use serde_json::Value;

use super::config::{DecoderConfig, Keys};
use crate::Result;

pub(super) const MODEL_TYPE: &str = "qwen3";

/// transformers' default where `head_dim` is not written.
const HEAD_DIM: u64 = 128;

pub(super) fn config(json: &Value) -> Result<DecoderConfig> {
    let mut json = json.clone();
    if json.get("head_dim").is_none() {
        json["head_dim"] = HEAD_DIM.into();
    }
    let keys = Keys::new(&json);
    let decoder = keys.decoder()?;
    let attention_bias = keys.flag_or("attention_bias", false)?;
    Ok(DecoderConfig {
        qk_norm: true,
        qkv_bias: attention_bias,
        output_bias: attention_bias,
        sliding_window: keys.qwen_windows(decoder.num_hidden_layers)?,
        ..decoder
    })
}
