//! The `mistral` family: llama with a sliding window in every block.

use serde_json::Value;

use super::config::{DecoderConfig, Keys};
use crate::Result;

pub(super) const MODEL_TYPE: &str = "mistral";

pub(super) fn config(json: &Value) -> Result<DecoderConfig> {
    let keys = Keys::new(json);
    let decoder = keys.decoder()?;
    let window = match keys.get("sliding_window") {
        Some(_) => Some(keys.size("sliding_window")?),
        None => None,
    };
    Ok(DecoderConfig {
        sliding_window: vec![window; decoder.num_hidden_layers],
        ..decoder
    })
}
