//! The `llama` family: Llama 1–3, and what is built like them.

use serde_json::Value;

use super::config::{DecoderConfig, Keys};
use crate::Result;

pub(super) const MODEL_TYPE: &str = "llama";

pub(super) fn config(json: &Value) -> Result<DecoderConfig> {
    let keys = Keys::new(json);
    let attention_bias = keys.flag_or("attention_bias", false)?;
    Ok(DecoderConfig {
        qkv_bias: attention_bias,
        output_bias: attention_bias,
        mlp_bias: keys.flag_or("mlp_bias", false)?,
        ..keys.decoder()?
    })
}
