//! What a session says of itself.

use serde_json::{Map, Value, json};

use super::begin::Stage;
use super::state::{Session, work};
use crate::failure::{Failure, Outcome};
use crate::status::*;

/// Keys of a step's numbers that say nothing of an evaluation.
const OF_STEPS: [&str; 4] = ["step", "epoch", "grad_norm", "learning_rate"];

impl Session {
    pub(super) fn metrics(&self) -> Outcome<String> {
        let mut all = match &self.last {
            Some(step) => object(step)?,
            None => Map::new(),
        };
        if let Some(metrics) = &self.evaluated {
            let numbers = object(metrics)?.into_iter();
            let numbers = numbers.filter(|(key, _)| !OF_STEPS.contains(&key.as_str()));
            all.extend(numbers.map(|(key, value)| (format!("eval_{key}"), value)));
        }
        Ok(Value::Object(all).to_string())
    }

    pub(super) fn describe(&self) -> Outcome<String> {
        let ready = self.stage.model()?;
        let (model, loss) = (ready.model(), self.stage.loss()?);
        let steps = match &self.stage {
            Stage::Run(run) => json!({
                "completed": run.completed_steps(),
                "total": run.total_steps(),
            }),
            _ => Value::Null,
        };
        let entries = model.bank.entries().iter();
        let tensors = entries.map(|entry| json!({"name": entry.name, "shape": entry.shape}));
        let report =
            |data: &Option<halo_core::session::Data>| data.as_ref().map(|data| json!(data.report));
        Ok(json!({
            "engine": halo_core::ENGINE,
            "model": model.config_json,
            "base": model.base,
            "loss": {"name": loss.name(), "params": loss.params()},
            "config": ready.config(),
            "steps": steps,
            "data": {"train": report(&self.train), "eval": report(&self.eval)},
            "trained": model.bank.len(),
            "tensors": tensors.collect::<Vec<_>>(),
        })
        .to_string())
    }

    pub(super) fn tensor(&self, name: &str) -> Outcome<(Vec<usize>, Vec<f32>)> {
        let decoder = &self.stage.model()?.model().decoder;
        if let Some(tensor) = work(|| decoder.tensor(name))? {
            return Ok(tensor);
        }
        let names = decoder.names();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let message = match ::halo_loss::nearest(name, &known) {
            Some(near) => format!("did you mean {near:?}? the model has no tensor {name:?}"),
            None => format!("the model has no tensor {name:?}"),
        };
        Err(Failure::new(HALO_E_NOT_FOUND, "session.tensor", message).argument(1))
    }
}

fn object(numbers: &impl serde::Serialize) -> Outcome<Map<String, Value>> {
    match serde_json::to_value(numbers) {
        Ok(Value::Object(map)) => Ok(map),
        other => {
            let message = format!("numbers that are no object: {other:?}");
            Err(Failure::new(HALO_E_PANIC, "session.metrics", message))
        }
    }
}
