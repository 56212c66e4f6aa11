//! The settings of a run whose model the host owns: those of `halo train` that do not belong to the model, the optimizer or files.

use std::collections::BTreeMap;

use ::halo_loss::{Loss, Params, Scope};
use halo_train::{GradientReduce, Mismatch, Order, Ramp, ReferenceSync, RunPlan, Schedule};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::status::*;

/// Keys and defaults of `halo train`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    loss: String,
    loss_parameters: Params,
    loss_schedule: BTreeMap<String, Ramp>,
    pub(super) class_balance: Option<f64>,
    reference_sync: Option<ReferenceSync>,
    reference_point_scope: Option<Scope>,
    mismatch: Mismatch,
    pub(super) score_threshold: Option<f64>,
    order: Order,
    per_device_train_batch_size: usize,
    gradient_accumulation_steps: usize,
    max_steps: Option<u64>,
    num_train_epochs: f64,
    learning_rate: f64,
    lr_scheduler_type: Schedule,
    warmup_steps: u64,
    seed: u64,
    save_steps: u64,
    /// A host's own.
    gradient_reduce: GradientReduce,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            loss: ::halo_loss::registry()[0].name.to_string(),
            loss_parameters: Params::new(),
            loss_schedule: BTreeMap::new(),
            class_balance: None,
            reference_sync: None,
            reference_point_scope: None,
            mismatch: Mismatch::Rotate,
            score_threshold: None,
            order: Order::Shuffled,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 1,
            max_steps: None,
            num_train_epochs: 1.0,
            learning_rate: 1e-6,
            lr_scheduler_type: Schedule::Linear,
            warmup_steps: 0,
            seed: 42,
            save_steps: 500,
            gradient_reduce: GradientReduce::Sum,
        }
    }
}

impl Config {
    /// # Errors
    /// An unknown loss or parameter.
    pub(super) fn loss(&self) -> Outcome<Loss> {
        Ok(Loss::new(&self.loss, &self.loss_parameters)?)
    }

    /// # Errors
    /// A setting out of its range, by its key.
    pub(super) fn plan(&self, rank: usize, ranks: usize) -> Outcome<RunPlan> {
        let positive = [
            (
                "per_device_train_batch_size",
                self.per_device_train_batch_size as u64,
            ),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps as u64,
            ),
            ("save_steps", self.save_steps),
            ("max_steps", self.max_steps.unwrap_or(1)),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(refuse(key, format!("{key} = 0 is outside 1..")));
            }
        }
        let epochs = self.num_train_epochs;
        if !(epochs > 0.0 && epochs <= 1e6) {
            let message = format!("num_train_epochs = {epochs} is outside 0 (exclusive)..=1e6");
            return Err(refuse("num_train_epochs", message));
        }
        if self.score_threshold.is_some_and(|score| !score.is_finite()) {
            let message = "score_threshold is not finite".into();
            return Err(refuse("score_threshold", message));
        }
        let plan = RunPlan {
            batch_size: self.per_device_train_batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            steps: self.max_steps,
            epochs,
            seed: self.seed,
            order: self.order,
            mismatch: self.mismatch,
            scope: self.reference_point_scope.unwrap_or(self.mismatch.scope()),
            learning_rate: self.learning_rate,
            schedule: self.lr_scheduler_type,
            warmup_steps: self.warmup_steps,
            save_every: Some(self.save_steps),
            loss_schedule: self.loss_schedule.clone(),
            reference_sync: self.reference_sync,
            gradient_reduce: self.gradient_reduce,
            rank,
            ranks,
        };
        plan.validate()?;
        Ok(plan)
    }
}

fn refuse(key: &str, message: String) -> Failure {
    Failure::new(HALO_E_INVALID_ARGUMENT, format!("trainer.{key}"), message)
}

#[cfg(all(test, feature = "session"))]
mod tests {
    use super::*;

    #[test]
    fn keys_and_defaults_are_those_of_halo_train() {
        let theirs = serde_json::json!(halo_core::config::TrainConfig::default());
        let ours = serde_json::json!(Config::default());
        let own = ["gradient_reduce"];
        for (key, value) in ours.as_object().unwrap() {
            match own.contains(&key.as_str()) {
                true => assert_eq!(theirs.get(key), None),
                false => assert_eq!(theirs.get(key), Some(value), "{key}"),
            }
        }
    }
}
