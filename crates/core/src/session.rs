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
use crate::models::Tape;
use crate::optimizer::Optimizer;
use crate::records::Lines;
use crate::{Error, Result};

mod evaluate;
mod open;
mod precompute;
mod ready;
mod trial;

pub use evaluate::Evaluation;
pub use precompute::Precompute;
pub use ready::{Data, Ready};
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

/// What a piece of a run came to.
#[derive(Debug)]
pub enum Advance {
    /// The step goes on: a forward or backward pass of a micro-batch, or something between two steps.
    Worked,
    /// An optimizer step is complete.
    Stepped(Box<Step>),
    /// The run is complete, and the model is saved.
    Finished,
}

/// A run that is open: a model that is ready, data and machine.
pub struct Session {
    ready: Ready,
    optimizer: Optimizer,
    machine: Machine,
    report: Report,
    /// Absent where the run has no folder.
    metrics: Option<Lines>,
    examples: Option<Lines>,
    /// Of the last taped forward, for its backward.
    tape: Option<Tape>,
    /// When the step in progress began.
    started: Option<Instant>,
    finished: bool,
    /// Examples that a trial does not train on.
    held_out: Option<Arc<Dataset>>,
}

impl Session {
    /// Runs to the end of the next optimizer step; `None` once the run is complete and the model is saved.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, or a file that cannot be written; checkpoints written before stay whole.
    pub fn step(&mut self) -> Result<Option<Step>> {
        loop {
            match self.advance()? {
                Advance::Worked => {}
                Advance::Stepped(step) => return Ok(Some(*step)),
                Advance::Finished => return Ok(None),
            }
        }
    }

    /// Does one piece of work: a pass of a micro-batch, an update, a checkpoint. Between two pieces the session may be used for
    /// anything else, and whoever stops here goes on with the same numbers.
    ///
    /// # Errors
    /// As [`Session::step`]. A step that failed in its midst begins anew.
    pub fn advance(&mut self) -> Result<Advance> {
        let started = *self.started.get_or_insert_with(Instant::now);
        let answer = match self.machine.next()? {
            Work::Forward {
                job,
                model,
                ask,
                tape,
            } => {
                let answer = self.forward(&job, model, ask, tape);
                self.or_give_up(answer)?
            }
            Work::Reduce { sums } => Answer::Reduced(sums),
            Work::Backward { job, dlogps } => {
                let done = self.backward(&job, &dlogps);
                self.or_give_up(done)?;
                Answer::Finished
            }
            Work::ReduceGradients => Answer::Finished,
            Work::SyncReference { mix } => {
                let bank = &self.ready.model.bank;
                let reference = self.ready.reference.as_mut();
                reference.map_or(Ok(()), |reference| reference.follow(bank, mix))?;
                Answer::Finished
            }
            Work::OptimizerStep {
                step,
                learning_rate,
            } => {
                let bank = &self.ready.model.bank;
                let updated = self.optimizer.step(bank, learning_rate, step);
                let grad_norm = self.or_give_up(updated)?;
                self.ready.model.bank.clear()?;
                self.machine.submit(Answer::Stepped { grad_norm })?;
                self.started = None;
                return Ok(match self.record(started)? {
                    Some(step) => Advance::Stepped(Box::new(step)),
                    None => Advance::Worked,
                });
            }
            Work::Checkpoint { .. } => {
                self.checkpoint()?;
                Answer::Finished
            }
            Work::Done => {
                let out = &self.ready.config.output_dir;
                if !self.finished && !out.as_os_str().is_empty() {
                    self.ready.save(out)?;
                }
                self.finished = true;
                return Ok(Advance::Finished);
            }
        };
        self.machine.submit(answer)?;
        Ok(Advance::Worked)
    }

    /// Whether something is left to do before the next step begins: a checkpoint, the model's last save.
    ///
    /// # Errors
    /// Those of [`Machine::next`].
    pub fn is_due(&mut self) -> Result<bool> {
        Ok(match self.machine.next()? {
            Work::SyncReference { .. } | Work::Checkpoint { .. } => true,
            Work::Done => !self.finished,
            _ => false,
        })
    }

    /// Another peak learning rate, from the next step on; the schedule goes on, and checkpoints remember it.
    ///
    /// # Errors
    /// A rate that is negative or not finite.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<()> {
        Ok(self.machine.set_learning_rate(rate)?)
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
        &self.ready.config
    }

    /// The loss with all its parameters, derived class weights included.
    pub fn loss(&self) -> &Loss {
        self.machine.loss()
    }

    /// How many numbers are trained.
    pub fn trained(&self) -> usize {
        self.ready.model.bank.len()
    }

    /// The model, for whatever else it is asked.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The same, to ask its reference too.
    pub fn ready_mut(&mut self) -> &mut Ready {
        &mut self.ready
    }

    fn forward(&mut self, job: &Job, model: Which, ask: Ask, tape: bool) -> Result<Answer> {
        let (answer, kept) = self
            .ready
            .answer(job, model, ask, tape, self.machine.data())?;
        if model == Which::Policy {
            self.tape = kept;
        }
        Ok(answer)
    }

    fn backward(&mut self, job: &Job, dlogps: &Gradient) -> Result<()> {
        let tape = self
            .tape
            .take()
            .ok_or_else(|| Error::internal("backward without a taped forward"))?;
        let model = &self.ready.model;
        model
            .decoder
            .backward(tape, &job.pack.spread(dlogps), &model.bank)
    }

    /// After an error in the midst of a step its gradient is worth nothing: the step is to begin anew.
    fn or_give_up<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            // The machine's error only says that the step is offered again; the first error is the one to report.
            let _ = self.machine.submit(Answer::Failed { code: 1 });
            (self.tape, self.started) = (None, None);
            self.ready.model.bank.clear()?;
        }
        result
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
            device_memory_peak: self.ready.model.decoder.device().memory_peak()?,
        };
        if let Some(lines) = &mut self.metrics {
            lines.append(std::slice::from_ref(&step))?;
        }
        Ok(Some(step))
    }

    /// The run's own checkpoint, if it has a folder.
    fn checkpoint(&mut self) -> Result<()> {
        let out = self.ready.config.output_dir.clone();
        match out.as_os_str().is_empty() {
            true => Ok(()),
            false => {
                self.save(&checkpoint::folder(&out, self.completed_steps()))?;
                checkpoint::prune(&out, self.ready.config.save_total_limit)
            }
        }
    }

    /// Writes everything that is needed to resume into a folder, whole or not at all. In the midst of a step it is the state before
    /// that step.
    ///
    /// # Errors
    /// A folder that holds something else than a checkpoint, or what the operating system says.
    pub fn save(&mut self, folder: &Path) -> Result<()> {
        if let Some(reference) = &mut self.ready.reference {
            reference.flush()?;
        }
        checkpoint::save(
            folder,
            &self.ready.config,
            &self.machine.state(),
            &self.ready.model.bank,
            &self.optimizer,
            self.ready.moving_reference(),
            |folder| self.ready.save(folder),
        )
    }
}
