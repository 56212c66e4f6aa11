//! From a model that is ready to a run: once, when the first step, checkpoint or setting asks for it.

use std::mem::replace;
use std::path::Path;

use halo_core::session::{Ready, Session as Run};
use halo_loss::Loss;

use super::state::{Session, out_of_order, work};
use crate::failure::{Failure, Outcome};
use crate::pool;
use crate::status::*;

/// How far a session is.
pub(crate) enum Stage {
    /// A model that knows no run.
    Ready(Box<Ready>),
    Run(Box<Run>),
    /// On the way; what a panic there leaves, behind a poisoned handle.
    Between,
}

impl Stage {
    pub(super) fn ready(ready: Ready) -> Stage {
        Stage::Ready(Box::new(ready))
    }

    pub(super) fn begun(&self) -> bool {
        matches!(self, Stage::Run(_))
    }

    pub(super) fn model(&self) -> Outcome<&Ready> {
        match self {
            Stage::Ready(ready) => Ok(ready),
            Stage::Run(run) => Ok(run.ready()),
            Stage::Between => Err(lost()),
        }
    }

    pub(super) fn model_mut(&mut self) -> Outcome<&mut Ready> {
        match self {
            Stage::Ready(ready) => Ok(ready),
            Stage::Run(run) => Ok(run.ready_mut()),
            Stage::Between => Err(lost()),
        }
    }

    /// The loss; in a run with the class weights that its data gave.
    pub(super) fn loss(&self) -> Outcome<&Loss> {
        match self {
            Stage::Ready(ready) => Ok(ready.loss()),
            Stage::Run(run) => Ok(run.loss()),
            Stage::Between => Err(lost()),
        }
    }

    /// The run, behind [`Session::begin`].
    pub(super) fn run(&mut self) -> Outcome<&mut Run> {
        match self {
            Stage::Run(run) => Ok(run),
            Stage::Ready(_) | Stage::Between => Err(lost()),
        }
    }
}

impl Session {
    /// Begins the run, unless it has begun; from a checkpoint if one is given.
    ///
    /// # Errors
    /// No training data; what does not fit. The session is then as before.
    pub(super) fn begin(&mut self, from: Option<&Path>) -> Outcome {
        if self.stage.begun() {
            return Ok(());
        }
        let Some(data) = &self.train else {
            return Err(out_of_order(
                "there are no training data: attach some as \"train\" first",
            ));
        };
        let Stage::Ready(ready) = replace(&mut self.stage, Stage::Between) else {
            return Err(lost());
        };
        let begun = pool::run(|| Ok(Run::begin(*ready, data, from)))?;
        match begun {
            Ok(run) => {
                self.stage = Stage::Run(Box::new(run));
                Ok(())
            }
            Err(failed) => {
                let (ready, error) = *failed;
                self.stage = Stage::ready(ready);
                Err(error.into())
            }
        }
    }

    pub(super) fn export(&self, folder: &str, format: &str) -> Outcome {
        let model = self.stage.model()?.model();
        let folder = Path::new(folder);
        match format {
            "hf" => work(|| halo_core::models::export(model, folder, Default::default())),
            "peft" => work(|| halo_core::models::export_adapter(model, folder)),
            _ => {
                let message = format!("format = {format:?}; known: \"hf\", \"peft\"");
                return Err(Failure::new(HALO_E_NOT_FOUND, "session.export", message).argument(2));
            }
        }
        .map_err(|failure| failure.argument(1))
    }
}

fn lost() -> Failure {
    Failure::new(HALO_E_STATE, "session", "the run did not begin")
}
