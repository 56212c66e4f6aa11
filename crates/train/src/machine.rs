//! The training loop as a machine without I/O: it says what to do next and is told what came of it.
//!
//! ```text
//! loop {
//!     match machine.next()? {                                    //  answered by
//!         Forward { job, model, ask, tape }                      //  Logps, one a sequence, or Tokens
//!         Reduce { sums }                (several ranks)         //  Reduced
//!         Backward { job, dlogps }                               //  Finished
//!         ReduceGradients                (several ranks)         //  Finished
//!         OptimizerStep { step, learning_rate }                  //  Stepped { grad_norm }
//!         SyncReference { mix }          (if the plan has it)    //  Finished
//!         Checkpoint { step }                                    //  Finished
//!         Done => break
//!     }
//!     machine.submit(answer)?;
//! }
//! ```
//!
//! A step, for each micro-batch: forward of the reference, forward of the policy with tape, z₀, backward. Where several
//! micro-batches share one z₀, its forward passes (without tape) all come first; so do those of the rows where a loss couples the
//! units of a step. Everything is divided by the global
//! counts of the step, known in advance, so neither micro-batches nor ranks change the result.
//!
//! A host that cannot do a work answers `Failed`. With several ranks all of them learn of it in the next sum, whatever the host did in
//! between: nobody waits for ever, nothing was stepped, and the step is offered again.

mod failure;
mod layout;
mod limit;
mod numbers;
mod plan;
mod setup;
mod state;
mod step;
mod whole;
mod work;

use std::sync::Arc;

use halo_loss::Loss;

pub use setup::needs_reference;
pub use state::MachineState;
pub use work::{Answer, Ask, Job, SequenceRef, TokenAnswer, Which, Work};

use crate::error::{Error, Kind};
use crate::examples::{ExampleHeader, ExampleRecord};
use crate::metrics::StepMetrics;
use crate::order::Steps;
use crate::plan::{RunPlan, SyncMoment};
use crate::records::Dataset;
use failure::Failed;
use numbers::Scores;
use setup::Setup;
use step::Step;

/// The training loop; see the [module](self).
#[derive(Debug)]
pub struct Machine {
    setup: Setup,
    steps: Steps,
    /// Optimiser steps completed: with the setup, all of the state.
    completed: u64,
    step: Option<Step>,
    /// What the reference point's estimator remembers of completed steps.
    memory: Vec<f64>,
    sync_due: bool,
    checkpoint_due: bool,
    /// Asked and not yet answered.
    pending: Option<Work>,
    /// A sum over the ranks failed: the host's code.
    over: Option<i32>,
    metrics: Option<StepMetrics>,
    examples: Vec<ExampleRecord>,
}

impl Machine {
    /// A machine at the beginning of the run.
    ///
    /// # Errors
    /// A plan out of range; data of another shape than the loss wants; a loss that needs what the machine does not
    /// give; a record for which no mismatched completion exists.
    pub fn new(plan: RunPlan, data: Arc<Dataset>, loss: Loss) -> Result<Machine, Error> {
        let setup = Setup::new(plan, data, loss)?;
        let (units, plan) = (setup.data.units.len(), &setup.plan);
        let steps = Steps::new(units, plan.units_per_step(), plan.order, plan.seed);
        Ok(Machine {
            setup,
            steps,
            completed: 0,
            step: None,
            memory: Vec::new(),
            sync_due: false,
            checkpoint_due: false,
            pending: None,
            over: None,
            metrics: None,
            examples: Vec::new(),
        })
    }

    /// What to do next. Asked again before the answer, it says the same.
    ///
    /// # Errors
    /// A loss that is not finite (with several ranks that fails the rank instead); a run that a failed sum ended.
    #[expect(
        clippy::should_implement_trait,
        reason = "the word of the protocol; an iterator could neither fail nor wait for answers"
    )]
    pub fn next(&mut self) -> Result<Work, Error> {
        self.check_over()?;
        if self.pending.is_none() {
            self.pending = self.ask()?;
        }
        Ok(self.pending.clone().unwrap_or(Work::Done))
    }

    fn ask(&mut self) -> Result<Option<Work>, Error> {
        if let (true, Some(sync)) = (self.sync_due, &self.setup.plan.reference_sync) {
            return Ok(Some(Work::SyncReference { mix: sync.mix }));
        }
        if self.checkpoint_due {
            return Ok(Some(Work::Checkpoint {
                step: self.completed,
            }));
        }
        if self.step.is_none() {
            if self.completed >= self.setup.total {
                return Ok(None);
            }
            let plan = plan::step(&self.setup, &mut self.steps, self.completed)?;
            self.step = Some(Step::new(&self.setup, plan, self.memory.clone()));
        }
        self.step
            .as_mut()
            .map_or(Ok(None), |step| step.ask(&self.setup))
    }

    /// Takes the answer to the last [`Machine::next`].
    ///
    /// # Errors
    /// An answer of another kind or length than asked for, or with a number that is not finite. The machine then still
    /// waits for the right one. A failure of this or another rank ([`Error::is_peer`]): the step is offered again. A failure that
    /// nobody else learns of ([`Error::is_host`]).
    pub fn submit(&mut self, answer: Answer) -> Result<(), Error> {
        self.check_over()?;
        let Some(work) = self.pending.take() else {
            let message = format!(
                "{} was submitted, but nothing was asked: call next first",
                answer.name()
            );
            return Err(Error::new(Kind::Protocol, message));
        };
        let accepted = match answer {
            Answer::Failed { code } => self.failed(&work, code),
            answer => self.accept(&work, answer),
        };
        match &accepted {
            // All of the step is asked again, from the beginning.
            Err(error) if error.is_peer() => self.step = None,
            Err(_) => self.pending = Some(work),
            Ok(()) => {}
        }
        accepted
    }

    fn check_over(&self) -> Result<(), Error> {
        match self.over {
            None => Ok(()),
            Some(code) => {
                let message = "a sum over the ranks failed: the run is over; restore a saved state";
                Err(Error::host(message.into(), code))
            }
        }
    }

    /// The host could not do a work.
    fn failed(&mut self, work: &Work, code: i32) -> Result<(), Error> {
        let alone = self.setup.plan.ranks == 1;
        let failed = Failed::host(work.name(), code);
        match (work, &mut self.step) {
            (Work::Forward { .. } | Work::Backward { .. } | Work::OptimizerStep { .. }, _)
                if alone =>
            {
                Err(failed.alone())
            }
            (Work::Forward { .. } | Work::Backward { .. }, Some(step)) => {
                step.fail(failed);
                Ok(())
            }
            // The others cannot be told, and may have gone on.
            (Work::Reduce { .. } | Work::ReduceGradients | Work::OptimizerStep { .. }, _) => {
                self.over = Some(code);
                let message = format!(
                    "{} failed with the host's code {code}, and the other ranks cannot be told: the run is over",
                    work.name()
                );
                Err(Error::host(message, code))
            }
            _ => {
                let message = format!(
                    "{} failed with the host's code {code}; it is offered again",
                    work.name()
                );
                Err(Error::host(message, code))
            }
        }
    }

    fn accept(&mut self, work: &Work, answer: Answer) -> Result<(), Error> {
        match (work, answer, &mut self.step) {
            (
                Work::Forward {
                    job, model, ask, ..
                },
                answer,
                Some(step),
            ) => {
                let scores = match (ask, answer) {
                    (Ask::Sums | Ask::Scores, Answer::Logps(logps)) => Scores::sums(logps),
                    (Ask::Tokens { collisions }, Answer::Tokens(tokens)) => {
                        Scores::tokens(job, tokens, *collisions)?
                    }
                    (_, answer) => return Err(work.unexpected(&answer)),
                };
                step.scored(&self.setup, job, *model, scores)
            }
            (Work::Reduce { sums }, Answer::Reduced(reduced), Some(step)) => {
                step.reduced(&self.setup, sums.len(), &reduced)
            }
            (Work::Backward { .. } | Work::ReduceGradients, Answer::Finished, Some(step)) => {
                step.finished();
                Ok(())
            }
            (Work::SyncReference { .. }, Answer::Finished, Some(step)) => {
                step.finished();
                Ok(())
            }
            (Work::SyncReference { .. }, Answer::Finished, None) => {
                self.sync_due = false;
                Ok(())
            }
            (Work::OptimizerStep { .. }, Answer::Stepped { grad_norm }, Some(step)) => {
                (self.metrics, self.examples) = step.close(&self.setup, grad_norm)?;
                self.memory = step.take_memory();
                self.step = None;
                self.completed += 1;
                let rhythm = self
                    .setup
                    .plan
                    .save_every
                    .is_some_and(|every| self.completed.is_multiple_of(every));
                self.checkpoint_due = rhythm || self.completed == self.setup.total;
                self.sync_due = self.setup.syncs(self.completed, SyncMoment::After);
                Ok(())
            }
            (Work::Checkpoint { .. }, Answer::Finished, _) => {
                self.checkpoint_due = false;
                Ok(())
            }
            (work, answer, _) => Err(work.unexpected(&answer)),
        }
    }

    /// Optimiser steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.setup.total
    }

    /// Optimiser steps completed.
    pub fn completed_steps(&self) -> u64 {
        self.completed
    }

    /// The settings of the run.
    pub fn plan(&self) -> &RunPlan {
        &self.setup.plan
    }

    /// Another peak learning rate, from the next step on; the schedule goes on. Every rank must set the same.
    ///
    /// # Errors
    /// A rate that is negative or not finite.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), Error> {
        if !(rate >= 0.0 && rate.is_finite()) {
            let message = format!("learning_rate = {rate} is outside 0..");
            return Err(Error::parameter(message));
        }
        self.setup.learning_rate = rate;
        Ok(())
    }

    /// The loss with all its parameters.
    pub fn loss(&self) -> &Loss {
        &self.setup.loss
    }

    /// Whether the run asks a reference.
    pub fn needs_reference(&self) -> bool {
        self.setup.reference
    }

    /// The data of the run.
    pub fn data(&self) -> &Arc<Dataset> {
        &self.setup.data
    }

    /// The metrics of the step completed last, once.
    pub fn take_metrics(&mut self) -> Option<StepMetrics> {
        self.metrics.take()
    }

    /// The examples of the step completed last, once; this rank's share of them. Those not taken are dropped.
    pub fn take_examples(&mut self) -> Vec<ExampleRecord> {
        std::mem::take(&mut self.examples)
    }

    /// The first line of a file of examples; `engine` names the program that writes it, with its version.
    pub fn example_header(&self, engine: &str) -> ExampleHeader {
        let loss = &self.setup.loss;
        ExampleHeader {
            loss: loss.name().into(),
            params: loss.params().clone(),
            engine: engine.into(),
        }
    }
}
