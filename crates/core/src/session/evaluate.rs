//! Evaluation on data that is not trained on: what a step over all of it would report, without the step.

use std::sync::Arc;

use halo_loss::Loss;
use halo_train::{Answer, Machine, Order, RunPlan, StepMetrics, Work, needs_reference};

use super::Ready;
use crate::{Error, Result};

/// An evaluation in progress.
///
/// All examples are one step: sums are divided by their whole count, and a reference point of scope `step` is estimated on all of
/// them, so that the result does not depend on the size of a micro-batch.
#[derive(Debug)]
pub struct Evaluation {
    machine: Machine,
    done: u64,
    micro_batches: u64,
}

impl Evaluation {
    /// Of this loss on this data, with the models as they will then stand.
    ///
    /// # Errors
    /// Data of another shape than the loss wants; a reference that cannot be loaded.
    pub fn new(ready: &mut Ready, loss: &Loss, data: &super::Data) -> Result<Evaluation> {
        if needs_reference(loss, &data.dataset) {
            ready.open_reference()?;
        }
        let plan = ready.config.plan();
        let micro_batches = data.dataset.units.len().div_ceil(plan.batch_size);
        let plan = RunPlan {
            gradient_accumulation_steps: micro_batches,
            steps: Some(1),
            order: Order::File,
            warmup_steps: 0,
            save_every: None,
            loss_schedule: Default::default(),
            reference_sync: None,
            ..plan
        };
        Ok(Evaluation {
            machine: Machine::new(plan, Arc::clone(&data.dataset), loss.clone())?,
            done: 0,
            micro_batches: micro_batches as u64,
        })
    }

    /// Does one pass of a micro-batch; the metrics once all are done. `grad_norm` and `learning_rate` say nothing there.
    ///
    /// # Errors
    /// A loss that is not finite; those of the device.
    pub fn advance(&mut self, ready: &mut Ready) -> Result<Option<StepMetrics>> {
        let answer = match self.machine.next()? {
            Work::Forward {
                job, model, ask, ..
            } => {
                let data = self.machine.data();
                ready.answer(&job, model, ask, false, data)?.0
            }
            Work::Reduce { sums } => Answer::Reduced(sums),
            Work::OptimizerStep { .. } => Answer::Stepped { grad_norm: 0.0 },
            Work::Backward { .. } => {
                self.done += 1;
                Answer::Finished
            }
            Work::ReduceGradients | Work::SyncReference { .. } | Work::Checkpoint { .. } => {
                Answer::Finished
            }
            Work::Done => return Err(Error::internal("an evaluation ended without metrics")),
        };
        self.machine.submit(answer)?;
        Ok(self.machine.take_metrics())
    }

    /// Micro-batches whose loss is known, and how many there are.
    pub fn progress(&self) -> (u64, u64) {
        (self.done, self.micro_batches)
    }
}
