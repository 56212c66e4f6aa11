//! What values a key takes, said alike for all of them.

use std::path::Path;

#[cfg(feature = "cli")]
use halo_loss::Scope;

use super::TrainConfig;
use crate::device::Placement;
use crate::{Error, Result};

impl TrainConfig {
    /// Checks what can be checked without reading a file.
    ///
    /// # Errors
    /// The first key that is missing or out of range, with its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        given("model", &self.model)?;
        given("output_dir", &self.output_dir)?;
        if self.data.is_empty() {
            return Err(
                Error::parameter("data is missing: give one or more JSONL files")
                    .with_argument("data"),
            );
        }
        self.check_values()
    }

    /// The same for a run without a folder, whose data come from elsewhere.
    ///
    /// # Errors
    /// As [`TrainConfig::check`].
    pub fn check_values(&self) -> Result<()> {
        given("model", &self.model)?;
        if self.output_dir.as_os_str().is_empty() {
            let files = [
                ("record_examples", self.record_examples),
                (
                    "precompute_ref_log_probs",
                    self.precompute_ref_log_probs && self.reference_cache.is_none(),
                ),
            ];
            if let Some((key, _)) = files.iter().find(|(_, needs_folder)| *needs_folder) {
                let message = format!("{key} writes a file, and output_dir is missing");
                return Err(Error::parameter(message).with_argument(*key));
            }
        }
        Placement::check(&self.device, &self.dtype)?;
        at_least_one("max_length", self.max_length)?;
        at_least_one(
            "per_device_train_batch_size",
            self.per_device_train_batch_size,
        )?;
        at_least_one(
            "gradient_accumulation_steps",
            self.gradient_accumulation_steps,
        )?;
        at_least_one("save_steps", self.save_steps as usize)?;
        at_least_one("save_total_limit", self.save_total_limit)?;
        range(
            "num_train_epochs",
            self.num_train_epochs,
            f64::MIN_POSITIVE,
            1e6,
        )?;
        range("learning_rate", self.learning_rate, 0.0, 1e3)?;
        range("weight_decay", self.weight_decay, 0.0, 1e3)?;
        range("max_grad_norm", self.max_grad_norm, 0.0, f64::MAX)?;
        range("adam_beta1", self.adam_beta1, 0.0, 0.999_999_999)?;
        range("adam_beta2", self.adam_beta2, 0.0, 0.999_999_999)?;
        range("adam_epsilon", self.adam_epsilon, f64::MIN_POSITIVE, 1.0)?;
        if self.lora_r.is_none()
            && (self.lora_alpha.is_some()
                || self.lora_target_modules.is_some()
                || self.lora_layers.is_some())
        {
            return Err(Error::parameter(
                "lora_alpha, lora_target_modules and lora_layers need lora_r",
            ));
        }
        Ok(())
    }
}

#[cfg(feature = "cli")]
pub(super) fn parse_scope(word: &str) -> std::result::Result<Scope, String> {
    match word {
        "step" => Ok(Scope::Step),
        "microbatch" => Ok(Scope::Microbatch),
        _ => Err(format!("{word:?} is not step or microbatch")),
    }
}

fn given(key: &str, path: &Path) -> Result<()> {
    match path.as_os_str().is_empty() {
        false => Ok(()),
        true => Err(Error::parameter(format!("{key} is missing")).with_argument(key)),
    }
}

fn at_least_one(key: &str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::parameter(format!("{key} = 0; allowed: 1 or more")).with_argument(key))
}

fn range(key: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::parameter(format!("{key} = {value}; allowed: {low} to {high}")).with_argument(key))
}
