//! A training run: the session drives the machine to its end, with the built-in model.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use halo_loss::Loss;
use halo_train::{Answer, Ask, Dataset, Gradient, Job, Machine, StepMetrics, Which, Work};
use serde::Serialize;

use crate::checkpoint;
use crate::config::TrainConfig;
use crate::data::Report;
use crate::models::{Loaded, SaveDtype, Tape, save_adapter, save_model};
use crate::optimizer::Optimizer;
use crate::records::Lines;
use crate::reference::Reference;
use crate::{Error, Result, run_folder};

mod open;
mod trial;

pub use trial::Trial;

/// One optimizer step's line in `metrics.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What the step did.
    #[serde(flatten)]
    pub metrics: StepMetrics,
    /// Wall time.
    pub step_seconds: f64,
    /// The most bytes of device memory in use so far; absent on the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_memory_peak: Option<usize>,
}

/// A run that is open: model, reference, data and machine.
pub struct Session {
    config: TrainConfig,
    model: Loaded,
    reference: Option<Reference>,
    optimizer: Optimizer,
    machine: Machine,
    data: Arc<Dataset>,
    report: Report,
    metrics: Lines,
    examples: Option<Lines>,
    /// Of the last taped forward, for its backward.
    tape: Option<Tape>,
    /// Examples that a trial does not train on.
    held_out: Option<Arc<Dataset>>,
}

impl Session {
    /// Computes the reference's log-probabilities of the whole run into the cache, then lets its weights go.
    ///
    /// Does nothing unless the configuration asks for it. `progress` is told the steps covered.
    ///
    /// # Errors
    /// Those of the forward and of writing the cache.
    pub fn precompute(&mut self, mut progress: impl FnMut(u64)) -> Result<()> {
        let Some(reference) = self
            .reference
            .as_mut()
            .filter(|_| self.config.precompute_ref_log_probs)
        else {
            return Ok(());
        };
        // A twin of the machine is asked for all its work; only the reference's is done.
        let mut twin = Machine::restore(
            self.machine.plan().clone(),
            self.data.clone(),
            self.machine.loss().clone(),
            &self.machine.state(),
        )?;
        loop {
            let answer = match twin.next()? {
                Work::Forward {
                    job,
                    model: Which::Reference,
                    ask,
                    ..
                } => reference.answer(&job, ask, &self.data)?,
                Work::Forward { job, .. } => Answer::Logps(vec![0.0; job.sequences.len()]),
                Work::Reduce { sums } => Answer::Reduced(sums),
                Work::OptimizerStep { step, .. } => {
                    progress(step);
                    Answer::Stepped { grad_norm: 0.0 }
                }
                Work::Backward { .. }
                | Work::ReduceGradients
                | Work::SyncReference { .. }
                | Work::Checkpoint { .. } => Answer::Finished,
                Work::Done => break,
            };
            twin.submit(answer)?;
        }
        reference.flush()?;
        reference.release();
        Ok(())
    }

    /// Runs to the end of the next optimizer step; `None` once the run is complete and the model is saved.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, or a file that cannot be written; checkpoints written before stay whole.
    pub fn step(&mut self) -> Result<Option<Step>> {
        let started = Instant::now();
        loop {
            let answer = match self.machine.next()? {
                Work::Forward {
                    job,
                    model,
                    ask,
                    tape,
                } => self.forward(&job, model, ask, tape)?,
                Work::Reduce { sums } => Answer::Reduced(sums),
                Work::Backward { job, dlogps } => {
                    self.backward(&job, &dlogps)?;
                    Answer::Finished
                }
                Work::ReduceGradients => Answer::Finished,
                Work::SyncReference { mix } => {
                    let reference = self.reference.as_mut();
                    reference
                        .map_or(Ok(()), |reference| reference.follow(&self.model.bank, mix))?;
                    Answer::Finished
                }
                Work::OptimizerStep {
                    step,
                    learning_rate,
                } => {
                    let grad_norm = self.optimizer.step(&self.model.bank, learning_rate, step)?;
                    self.model.bank.clear()?;
                    self.machine.submit(Answer::Stepped { grad_norm })?;
                    if let Some(done) = self.record(started)? {
                        return Ok(Some(done));
                    }
                    continue;
                }
                Work::Checkpoint { .. } => {
                    self.checkpoint()?;
                    Answer::Finished
                }
                Work::Done => {
                    self.save(&self.config.output_dir)?;
                    return Ok(None);
                }
            };
            self.machine.submit(answer)?;
        }
    }

    /// Optimizer steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.machine.total_steps()
    }

    /// Optimizer steps completed, those before a resume included.
    pub fn completed_steps(&self) -> u64 {
        self.machine.completed_steps()
    }

    /// What was read, cut and dropped.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The run's configuration.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The loss with all its parameters, derived class weights included.
    pub fn loss(&self) -> &Loss {
        self.machine.loss()
    }

    /// How many numbers are trained.
    pub fn trained(&self) -> usize {
        self.model.bank.len()
    }

    fn forward(&mut self, job: &Job, model: Which, ask: Ask, tape: bool) -> Result<Answer> {
        match (model, &mut self.reference) {
            (Which::Policy, _) => {
                let (answer, kept) = self.model.decoder.answer(&job.pack, ask, tape)?;
                self.tape = kept;
                Ok(answer)
            }
            (Which::Reference, Some(reference)) => reference.answer(job, ask, &self.data),
            (Which::Reference, None) => Err(Error::internal(
                "a reference was asked for, but the loss needs none",
            )),
        }
    }

    fn backward(&mut self, job: &Job, dlogps: &Gradient) -> Result<()> {
        let tape = self
            .tape
            .take()
            .ok_or_else(|| Error::internal("backward without a taped forward"))?;
        self.model
            .decoder
            .backward(tape, &job.pack.spread(dlogps), &self.model.bank)
    }

    fn record(&mut self, started: Instant) -> Result<Option<Step>> {
        let examples = self.machine.take_examples();
        if let Some(lines) = &mut self.examples {
            lines.append(&examples)?;
        }
        let Some(metrics) = self.machine.take_metrics() else {
            return Ok(None);
        };
        let step = Step {
            metrics,
            step_seconds: started.elapsed().as_secs_f64(),
            device_memory_peak: self.model.decoder.device().memory_peak()?,
        };
        self.metrics.append(std::slice::from_ref(&step))?;
        Ok(Some(step))
    }

    fn checkpoint(&mut self) -> Result<()> {
        if let Some(reference) = &mut self.reference {
            reference.flush()?;
        }
        let state = self.machine.state();
        checkpoint::save(
            &self.config,
            &state,
            &self.model.bank,
            &self.optimizer,
            self.moving_reference(),
            |folder| self.save(folder),
        )
    }

    /// The reference, if it does not stay as the run found it.
    fn moving_reference(&self) -> Option<&Reference> {
        let moves = self.config.reference_sync.is_some();
        self.reference.as_ref().filter(|_| moves)
    }

    /// The model as others read it: Hugging Face weights, or a PEFT adapter, with the tokenizer's files.
    fn save(&self, folder: &Path) -> Result<()> {
        match &self.model.lora {
            Some(lora) => {
                let base = std::path::absolute(&self.model.base)
                    .map_err(|e| Error::io(&self.model.base, e))?;
                save_adapter(&self.model.decoder, lora, &base, folder)?;
            }
            None => save_model(
                &self.model.decoder,
                &self.model.config_json,
                folder,
                SaveDtype::F32,
            )?,
        }
        run_folder::copy_tokenizer(&self.model.base, folder)
    }
}
