//! The `qwen2` family (Qwen 1.5, 2, 2.5): biases on q, k and v.

use serde_json::Value;

use super::config::{DecoderConfig, Keys};
use crate::Result;

pub(super) const MODEL_TYPE: &str = "qwen2";

pub(super) fn config(json: &Value) -> Result<DecoderConfig> {
    let keys = Keys::new(json);
    let decoder = keys.decoder()?;
    Ok(DecoderConfig {
        qkv_bias: true,
        sliding_window: keys.qwen_windows(decoder.num_hidden_layers)?,
        ..decoder
    })
}
