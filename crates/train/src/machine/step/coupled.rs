//! A loss that couples the units of a step: evaluated once, on the rows of all ranks.

use std::ops::Range;

use halo_loss::{Evaluation, evaluate};

use super::{Setup, Step, Whole};
use crate::error::{Error, Kind};

impl Step {
    /// The numbers of all rows of the step, in one list; 0 for the other ranks' rows.
    pub(super) fn all_rows(&self, setup: &Setup) -> Result<Vec<f64>, Error> {
        let mut whole = Whole::new(setup, &self.plan.rows);
        for (batch, plan) in self.plan.batches.iter().enumerate() {
            whole.put(plan.start, &self.numbers(setup, batch)?.0);
        }
        Ok(whole.numbers)
    }

    /// Evaluates the whole step at once, and gives each micro-batch its share.
    pub(super) fn whole(&mut self, setup: &Setup, all: &[f64]) -> Result<(), Error> {
        let whole = Whole::new(setup, &self.plan.rows);
        let numbers = whole.read(setup, &self.plan.rows, all);
        let all = evaluate(&self.plan.loss, numbers.view(), &self.plan.norm).map_err(|error| {
            let record = error.row().map(|row| self.plan.rows[row]);
            let message = format!("step {}: {error}", self.plan.number);
            Error::new(Kind::Numeric, message).at(record)
        })?;
        let size = self.plan.loss.rows_per_unit();
        for (plan, places) in self.plan.batches.iter().zip(&mut self.batches) {
            let mine = plan.start..plan.start + plan.rows.len();
            // Counts of the whole step are reported once.
            let counts = mine.start == 0 && !mine.is_empty();
            let values = all.values[mine.start / size..mine.end / size].to_vec();
            let slice = |slopes: &[f64], range: Range<usize>| match slopes.is_empty() {
                true => Vec::new(),
                false => slopes[range].to_vec(),
            };
            places.evaluation = Some(Evaluation {
                loss: values.iter().sum::<f64>() / self.plan.norm.units,
                dlogps: slice(&all.dlogps, mine.clone()),
                token_dlogps: slice(&all.token_dlogps, whole.tokens(&mine)),
                rewards: all.rewards[mine.clone()].to_vec(),
                zones: all.zones[mine].to_vec(),
                values,
                clipped: if counts { all.clipped } else { 0 },
                per_token: all.per_token,
                inside: all.inside.map(|inside| if counts { inside } else { 0 }),
            });
        }
        Ok(())
    }
}
