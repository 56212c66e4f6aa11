//! A run: the machine, and the work that the host has in hand.

use std::sync::Arc;

use ::halo_loss::{Label, Loss, weighting};
use halo_train::{Answer, Dataset, Machine, RunPlan, StepMetrics, Work};
use serde_json::{Value, json};

use super::config::Config;
use super::hand::{Hand, seeds};
use super::sequences::Sequences;
use super::work::*;
use crate::dataset::Records;
use crate::failure::{Failure, Outcome};
use crate::status::*;

/// What stands behind the handle.
pub(crate) struct Trainer {
    config: Config,
    pub(super) plan: RunPlan,
    loss: Loss,
    /// Once data are attached.
    pub(super) machine: Option<Machine>,
    /// A rate that was set before.
    learning_rate: Option<f64>,
    hand: Option<Hand>,
    /// The last taped forward pass: its work's id and its rows.
    taped: Option<(u64, Arc<Sequences>)>,
    /// Works given out.
    given: u64,
    /// Backward passes done in this step.
    backwards: u32,
    metrics: Option<StepMetrics>,
}

impl Trainer {
    /// # Errors
    /// Settings that are none.
    pub(super) fn new(config: Config, rank: usize, ranks: usize) -> Outcome<Trainer> {
        Ok(Trainer {
            plan: config.plan(rank, ranks)?,
            loss: config.loss()?,
            config,
            machine: None,
            learning_rate: None,
            hand: None,
            taped: None,
            given: 0,
            backwards: 0,
            metrics: None,
        })
    }

    /// # Errors
    /// Data are there already, or do not fit the loss.
    pub(super) fn attach(&mut self, records: &Records) -> Outcome {
        if self.machine.is_some() {
            let message = "data are attached already";
            return Err(Failure::new(HALO_E_STATE, "trainer.attach", message));
        }
        let threshold = self.config.score_threshold;
        let data = Arc::new(records.as_tokens(self.loss.data_shape(), threshold)?);
        if let Some(target) = self.config.class_balance {
            let [desirable, undesirable] = classes(&data);
            let weights = weighting::from_counts(desirable, undesirable, target)?;
            self.loss = self.loss.clone().with_weights(weights)?;
        }
        let mut machine = Machine::new(self.plan.clone(), data, self.loss.clone())?;
        if let Some(rate) = self.learning_rate {
            machine.set_learning_rate(rate)?;
        }
        self.machine = Some(machine);
        Ok(())
    }

    /// The work in hand, or the next one.
    ///
    /// # Errors
    /// No data yet; numbers that are no use; a run that is over.
    pub(super) fn next(&mut self) -> Outcome<halo_work> {
        let machine = self.machine.as_mut().ok_or_else(unattached)?;
        if self.hand.is_none() {
            let mut work = machine.next()?;
            // The host adds the gradients up in the work that steps.
            while matches!(work, Work::ReduceGradients) {
                machine.submit(Answer::Finished)?;
                work = machine.next()?;
            }
            self.hand = Some(self.take(work));
        }
        let hand = self.hand.as_ref();
        hand.map(Hand::work).ok_or_else(unattached)
    }

    fn take(&mut self, work: Work) -> Hand {
        let (data, completed) = match &self.machine {
            Some(machine) => (Some(machine.data().clone()), machine.completed_steps()),
            None => (None, 0),
        };
        self.given += 1;
        let mut hand = Hand {
            id: self.given,
            step: completed + 1,
            forward_id: 0,
            micro_batch: self.backwards,
            rows: None,
            values: Vec::new(),
            work,
        };
        match &hand.work {
            Work::Forward { job, tape, .. } => {
                let rows = data.map(|data| Arc::new(Sequences::of(job, &data)));
                if let (true, Some(rows)) = (tape, &rows) {
                    self.taped = Some((hand.id, rows.clone()));
                }
                hand.rows = rows;
            }
            Work::Backward { dlogps, .. } => {
                if let Some((id, rows)) = &self.taped {
                    (hand.forward_id, hand.rows) = (*id, Some(rows.clone()));
                    hand.values = seeds(dlogps, rows);
                }
            }
            Work::Reduce { sums } => hand.values.clone_from(sums),
            Work::Checkpoint { .. } | Work::Done => hand.step = completed,
            Work::ReduceGradients | Work::OptimizerStep { .. } | Work::SyncReference { .. } => {}
        }
        hand
    }

    /// What [`Trainer::submit`] waits for.
    pub(super) fn awaited(&self) -> Option<&Hand> {
        self.hand.as_ref()
    }

    /// # Errors
    /// What the machine says of the answer.
    pub(super) fn submit(&mut self, answer: Answer) -> Outcome {
        let machine = self.machine.as_mut().ok_or_else(unattached)?;
        match machine.submit(answer) {
            Ok(()) => {
                if let Some(metrics) = machine.take_metrics() {
                    (self.metrics, self.backwards) = (Some(metrics), 0);
                }
                // Nobody asks for them.
                machine.take_examples();
                if let Some(hand) = self.hand.take() {
                    self.backwards += u32::from(matches!(hand.work, Work::Backward { .. }));
                }
                Ok(())
            }
            Err(error) => {
                if error.is_peer() {
                    self.drop_step();
                }
                if error.is_host() {
                    self.hand = None;
                }
                Err(error.into())
            }
        }
    }

    /// The step begins anew.
    pub(super) fn drop_step(&mut self) {
        (self.hand, self.taped, self.backwards) = (None, None, 0);
    }

    /// # Errors
    /// A rate out of range.
    pub(super) fn set_learning_rate(&mut self, rate: f64) -> Outcome {
        if let Some(machine) = &mut self.machine {
            machine.set_learning_rate(rate)?;
        } else if !(rate >= 0.0 && rate.is_finite()) {
            let message = format!("learning_rate = {rate} is outside 0..");
            let site = "trainer.learning_rate";
            return Err(Failure::new(HALO_E_INVALID_ARGUMENT, site, message));
        }
        self.learning_rate = Some(rate);
        Ok(())
    }

    pub(super) fn metrics(&self) -> Value {
        let step = self.machine.as_ref().map_or(0, Machine::completed_steps);
        let mut metrics = match &self.metrics {
            Some(metrics) => json!(metrics),
            None => json!({"step": step}),
        };
        metrics["max_steps"] = json!(self.machine.as_ref().map(Machine::total_steps));
        metrics
    }

    /// Goes on with another machine of the same run.
    pub(super) fn replace(&mut self, machine: Machine) {
        self.machine = Some(machine);
        self.metrics = None;
        self.drop_step();
    }

    pub(super) fn loss(&self) -> &Loss {
        &self.loss
    }
}

/// How many desirable and undesirable records a run learns from.
fn classes(data: &Dataset) -> [u64; 2] {
    let mut counts = [0; 2];
    for record in data.units.iter().flat_map(|unit| unit.records()) {
        counts[usize::from(data.records[record].label == Label::Undesirable)] += 1;
    }
    counts
}

pub(super) fn unattached() -> Failure {
    let message = "no data are attached: call halo_trainer_attach first";
    Failure::new(HALO_E_STATE, "trainer.attach", message)
}
