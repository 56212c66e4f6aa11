//! The reference's log-probabilities of a whole run, computed before it, so that the reference's weights can go.

use halo_train::{Answer, Machine, Which, Work};

use super::Session;
use crate::Result;

/// A computation in progress.
#[derive(Debug)]
pub struct Precompute {
    /// A twin of the run's machine is asked for all its work; only the reference's is done.
    twin: Machine,
}

impl Session {
    /// Computes the reference's log-probabilities of the whole run into the cache, then lets its weights go.
    ///
    /// Does nothing unless the configuration asks for it. `progress` is told the steps covered.
    ///
    /// # Errors
    /// Those of the forward and of writing the cache.
    pub fn precompute(&mut self, mut progress: impl FnMut(u64)) -> Result<()> {
        let Some(mut work) = self.precomputation()? else {
            return Ok(());
        };
        while let Some(step) = self.precompute_next(&mut work)? {
            progress(step);
        }
        Ok(())
    }

    /// The same piece by piece; nothing where the configuration does not ask for it, or it is done.
    ///
    /// # Errors
    /// None that is known: the machine has been made before.
    pub fn precomputation(&self) -> Result<Option<Precompute>> {
        let wanted = self.ready.config.precompute_ref_log_probs;
        let reference = self.ready.reference.as_ref();
        if !wanted || !reference.is_some_and(|reference| reference.has_weights()) {
            return Ok(None);
        }
        Ok(Some(Precompute {
            twin: Machine::restore(
                self.machine.plan().clone(),
                self.machine.data().clone(),
                self.machine.loss().clone(),
                &self.machine.state(),
            )?,
        }))
    }

    /// Covers one more step, and says which; `None` once all are, and the reference's weights are gone.
    ///
    /// # Errors
    /// Those of the forward and of writing the cache. What was computed is in the cache, and not computed again.
    pub fn precompute_next(&mut self, work: &mut Precompute) -> Result<Option<u64>> {
        let Some(reference) = &mut self.ready.reference else {
            return Ok(None);
        };
        loop {
            let mut covered = None;
            let answer = match work.twin.next()? {
                Work::Forward {
                    job,
                    model: Which::Reference,
                    ask,
                    ..
                } => reference.answer(&job, ask, self.machine.data())?,
                Work::Forward { job, .. } => Answer::Logps(vec![0.0; job.sequences.len()]),
                Work::Reduce { sums } => Answer::Reduced(sums),
                Work::OptimizerStep { step, .. } => {
                    covered = Some(step);
                    Answer::Stepped { grad_norm: 0.0 }
                }
                Work::Backward { .. }
                | Work::ReduceGradients
                | Work::SyncReference { .. }
                | Work::Checkpoint { .. } => Answer::Finished,
                Work::Done => break,
            };
            work.twin.submit(answer)?;
            if covered.is_some() {
                return Ok(covered);
            }
        }
        reference.flush()?;
        reference.release();
        Ok(None)
    }
}
