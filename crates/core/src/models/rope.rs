//! Rotary frequencies and their scalings, from a Hugging Face configuration.

use std::f64::consts::PI;

use serde_json::Value;

use super::config::Keys;
use crate::{Error, Result};

/// Inverse frequencies (E/2): θ^(-2i/E), scaled as `rope_scaling` or `rope_parameters` says.
///
/// # Errors
/// An unknown `rope_type` (known: default, linear, llama3), or a scaling without its numbers.
pub(crate) fn frequencies(keys: &Keys<'_>, head_dim: usize) -> Result<Vec<f64>> {
    // transformers 5 writes one `rope_parameters`; before it was `rope_theta` beside `rope_scaling`.
    let group = keys.get("rope_parameters").or(keys.get("rope_scaling"));
    let nested = Value::Null;
    let scaling = Keys::new(group.unwrap_or(&nested));
    let theta = scaling.number_or("rope_theta", keys.number_or("rope_theta", 10_000.0)?)?;
    let plain = (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64));
    let kind = scaling.get("rope_type").or(scaling.get("type"));
    match kind.and_then(Value::as_str) {
        None | Some("default") => Ok(plain.collect()),
        Some("linear") => {
            let factor = required(&scaling, "factor")?;
            Ok(plain.map(|f| f / factor).collect())
        }
        Some("llama3") => {
            let scale = Llama3 {
                factor: required(&scaling, "factor")?,
                low: required(&scaling, "low_freq_factor")?,
                high: required(&scaling, "high_freq_factor")?,
                old_length: required(&scaling, "original_max_position_embeddings")?,
            };
            Ok(plain.map(|f| scale.apply(f)).collect())
        }
        Some(other) => Err(Error::model(format!(
            "config.json: rope_type = \"{other}\"; known: default, linear, llama3"
        ))),
    }
}

fn required(keys: &Keys<'_>, key: &str) -> Result<f64> {
    match keys.get(key) {
        Some(_) => keys.number_or(key, 0.0),
        None => Err(Error::model(format!(
            "config.json: rope scaling needs {key}"
        ))),
    }
}

/// Llama 3's scaling: long wavelengths are stretched by `factor`, short ones kept, those between blended.
struct Llama3 {
    factor: f64,
    low: f64,
    high: f64,
    old_length: f64,
}

impl Llama3 {
    fn apply(&self, frequency: f64) -> f64 {
        let wavelength = 2.0 * PI / frequency;
        if wavelength < self.old_length / self.high {
            frequency
        } else if wavelength > self.old_length / self.low {
            frequency / self.factor
        } else {
            let smooth = (self.old_length / wavelength - self.low) / (self.high - self.low);
            (1.0 - smooth) * frequency / self.factor + smooth * frequency
        }
    }
}
