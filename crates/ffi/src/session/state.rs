//! What stands behind a session's handle.

use std::path::Path;
use std::sync::Arc;

use halo_core::config::TrainConfig;
use halo_core::session::{Advance, Data, Evaluation, Ready, Step};
use halo_train::StepMetrics;
use serde_json::Value;

use super::begin::Stage;
use crate::dataset::Records;
use crate::failure::{Failure, Outcome};
use crate::intake::Watch;
use crate::status::*;
use crate::{pool, settings};

/// A model with what it was given and what came of it.
pub(crate) struct Session {
    /// Whose threads and files these are.
    process: u32,
    pub(super) stage: Stage,
    pub(super) train: Option<Data>,
    pub(super) eval: Option<Data>,
    /// The last step of this session, and its last evaluation.
    pub(super) last: Option<Step>,
    pub(super) evaluated: Option<StepMetrics>,
}

/// This build has sessions.
pub(super) fn here() -> Outcome {
    Ok(())
}

impl Session {
    pub(super) fn new(config: &str) -> Outcome<Session> {
        let config: TrainConfig = settings::parse("config_json", config)?;
        let (ready, train) = work(|| {
            let ready = Ready::load(config)?;
            let train = match ready.config().data.is_empty() {
                true => None,
                false => Some(ready.read(&ready.config().data)?),
            };
            Ok((ready, train))
        })?;
        Ok(Session {
            process: std::process::id(),
            stage: Stage::ready(ready),
            train,
            eval: None,
            last: None,
            evaluated: None,
        })
    }

    /// # Errors
    /// A child that was forked off: threads and devices of the parent are not there.
    pub(super) fn of_this_process(&self) -> Outcome {
        match self.process == std::process::id() {
            true => Ok(()),
            false => Err(out_of_order(
                "the session belongs to the process before fork(): make a new one here",
            )),
        }
    }

    pub(super) fn attach(&mut self, role: &str, records: &Arc<Records>) -> Outcome {
        match role {
            "eval" => {}
            "train" if self.train.is_none() => {}
            "train" => {
                let message =
                    "the session has training data already (attached, or as config_json's data)";
                return Err(out_of_order(message));
            }
            _ => {
                let message = format!("role = {role:?}; known: \"train\", \"eval\"");
                return Err(Failure::new(HALO_E_NOT_FOUND, "session.role", message).argument(1));
            }
        }
        let ready = self.stage.model()?;
        let options = ready.data_options()?;
        let loaded = pool::run(|| records.load(ready.tokenizer(), &options))
            .map_err(|failure| failure.argument(2))?;
        let data = Some(Data::from(loaded));
        match role {
            "eval" => self.eval = data,
            _ => self.train = data,
        }
        Ok(())
    }

    pub(super) fn train(&mut self, watch: &Watch) -> Outcome {
        self.begin(None)?;
        let run = self.stage.run()?;
        let total = run.total_steps();
        if let Some(mut reference) = run.precomputation()? {
            let mut done = run.completed_steps();
            loop {
                watch.go_on(c"reference", done, total)?;
                match work(|| run.precompute_next(&mut reference))? {
                    Some(step) => done = step,
                    None => break,
                }
            }
        }
        let mut left = watch.max_steps();
        loop {
            watch.go_on(c"train", run.completed_steps(), total)?;
            match work(|| run.advance())? {
                Advance::Worked => {}
                Advance::Stepped(step) => {
                    self.last = Some(*step);
                    left = left.map(|left| left - 1);
                }
                Advance::Finished => return Ok(()),
            }
            // What is due behind the last step is done before the call ends.
            if left == Some(0) && !run.is_due()? {
                return Ok(());
            }
        }
    }

    pub(super) fn evaluate(&mut self, watch: &Watch) -> Outcome {
        if self.eval.is_some() && self.train.is_some() {
            // Class weights come from the training data, before the first step as behind it.
            self.begin(None)?;
        }
        let Some(data) = &self.eval else {
            return Err(out_of_order(
                "there are no data to evaluate on: attach some as \"eval\" first",
            ));
        };
        let loss = self.stage.loss()?.clone();
        let ready = self.stage.model_mut()?;
        let mut evaluation = work(|| Evaluation::new(ready, &loss, data))?;
        loop {
            let (done, all) = evaluation.progress();
            watch.go_on(c"evaluate", done, all)?;
            if let Some(metrics) = work(|| evaluation.advance(ready))? {
                self.evaluated = Some(metrics);
                return Ok(());
            }
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str) -> Outcome {
        const KEYS: [&str; 2] = ["lr", "learning_rate"];
        if !KEYS.contains(&key) {
            let near = halo_loss::nearest(key, &KEYS).unwrap_or(KEYS[1]);
            let message = format!(
                "did you mean {near:?}? key = {key:?}; known: {}",
                KEYS.join(", ")
            );
            return Err(Failure::new(HALO_E_NOT_FOUND, "session.set", message).argument(1));
        }
        let rate = match serde_json::from_str::<Value>(value) {
            Ok(value) => value.as_f64(),
            Err(error) => {
                let message = format!("value_json: {error}");
                return Err(Failure::new(HALO_E_FORMAT, "session.set", message).argument(2));
            }
        };
        let Some(rate) = rate else {
            let message = format!("{key} = {value}; allowed: a number");
            let failure = Failure::new(HALO_E_INVALID_ARGUMENT, "session.set", message);
            return Err(failure.argument(2));
        };
        self.begin(None)?;
        let run = self.stage.run()?;
        run.set_learning_rate(rate)
            .map_err(|error| Failure::from(error).argument(2))
    }

    pub(super) fn save(&mut self, folder: &str) -> Outcome {
        self.begin(None)?;
        let run = self.stage.run()?;
        work(|| run.save(Path::new(folder))).map_err(|failure| failure.argument(1))
    }

    pub(super) fn load(&mut self, folder: &str) -> Outcome {
        let folder = Path::new(folder);
        match self.stage.begun() {
            true => {
                let run = self.stage.run()?;
                work(|| run.load(folder))
            }
            false => self.begin(Some(folder)),
        }
        .map_err(|failure| failure.argument(1))?;
        self.last = None;
        Ok(())
    }
}

/// Runs a piece of the engine's work on the pool.
pub(super) fn work<T: Send>(piece: impl FnOnce() -> halo_core::Result<T> + Send) -> Outcome<T> {
    pool::run(|| piece().map_err(Failure::from))
}

pub(super) fn out_of_order(message: &str) -> Failure {
    Failure::new(HALO_E_STATE, "session", message)
}
