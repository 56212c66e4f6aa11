//! What never changes during a run, and whether its parts fit together.

use std::sync::Arc;

use halo_loss::{Advantage, DataShape, Loss, Need, ParamValue, Row, Source, advantage};

use super::work::Ask;
use crate::error::Error;
use crate::pairing::{Mismatch, rotate};
use crate::plan::{RunPlan, SyncMoment};
use crate::records::{Dataset, Unit};

#[derive(Debug)]
pub(super) struct Setup {
    pub(super) plan: RunPlan,
    pub(super) data: Arc<Dataset>,
    /// As the run begins; a step's own has the parameters of that step.
    pub(super) loss: Loss,
    /// The peak learning rate: the plan's, until the host sets another.
    pub(super) learning_rate: f64,
    /// Optimiser steps of the whole run.
    pub(super) total: u64,
    /// The rows that z₀ is estimated on.
    pub(super) source: Source,
    /// What a forward pass is asked for.
    pub(super) ask: Ask,
    /// Where the log-probabilities at sampling time come from.
    pub(super) old: OldLogps,
    /// Whether a reference must be asked.
    pub(super) reference: bool,
    /// Of each record; zeros for a loss that reads none.
    pub(super) advantages: Vec<f64>,
    /// [`Dataset::fingerprint`] in hexadecimal.
    pub(super) fingerprint: String,
}

/// Where the log-probabilities at sampling time come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OldLogps {
    /// Nobody reads them.
    Unread,
    /// From the records.
    Data,
    /// The reference is taken for the sampling policy.
    Reference,
}

impl Setup {
    /// # Errors
    /// Those of [`Machine::new`](super::Machine::new).
    pub(super) fn new(plan: RunPlan, data: Arc<Dataset>, loss: Loss) -> Result<Setup, Error> {
        plan.validate()?;
        check_shape(&data, &loss)?;
        check_needs(&loss)?;
        let source = loss
            .reference_point()
            .map_or(Source::None, |estimator| estimator.source());
        if source == Source::Mismatched && plan.mismatch == Mismatch::Rotate {
            rotate::check(&data)?;
        }
        let total = plan.total_steps(data.units.len());
        let fingerprint = format!("{:016x}", data.fingerprint());
        let old = old_logps(&loss, &data)?;
        let mut setup = Setup {
            source,
            ask: ask(&loss),
            old,
            reference: needs_reference(&loss, &data),
            advantages: advantages(&loss, &data)?,
            learning_rate: plan.learning_rate,
            plan,
            data,
            loss,
            total,
            fingerprint,
        };
        setup.check_plan()?;
        // A parameter that switches something on along its way is at one of its ends on.
        setup.ask = setup.ask.and(ask(&setup.loss_at(total.saturating_sub(1))?));
        Ok(setup)
    }

    /// The loss with the parameters of step `index`, counted from 0.
    pub(super) fn loss_at(&self, index: u64) -> Result<Loss, Error> {
        let mut loss = self.loss.clone();
        for (name, ramp) in &self.plan.loss_schedule {
            let value = ramp.at(self.number(name)?, index, self.total);
            loss = loss
                .with(name, value)
                .map_err(|e| Error::parameter(e.to_string()))?;
        }
        Ok(loss)
    }

    /// Whether the reference moves at step `number`, counted from 1, at this moment of it.
    pub(super) fn syncs(&self, number: u64, moment: SyncMoment) -> bool {
        let sync = &self.plan.reference_sync;
        sync.is_some_and(|sync| sync.moment == moment && number.is_multiple_of(sync.every))
    }

    /// The loss's own value of a parameter that is a number.
    fn number(&self, name: &str) -> Result<f64, Error> {
        match self.loss.params().get(name) {
            Some(ParamValue::Number(number)) => Ok(*number),
            _ => {
                let message = format!(
                    "loss_schedule.{name}: no parameter of {} that is a number",
                    self.loss.name()
                );
                Err(Error::parameter(message))
            }
        }
    }

    /// Whether what the plan changes over the run can be changed.
    fn check_plan(&self) -> Result<(), Error> {
        for (name, ramp) in &self.plan.loss_schedule {
            ramp.validate(name, self.number(name)?)?;
        }
        // Each parameter stays between its ends, so these two steps speak for all.
        for index in [0, self.total.saturating_sub(1)] {
            self.loss_at(index)?;
        }
        if self.plan.reference_sync.is_some() && !self.reference {
            let message = format!("reference_sync: {} needs no reference", self.loss.name());
            return Err(Error::parameter(message));
        }
        Ok(())
    }
}

/// Whether a run of this loss on this data asks a reference: for its log-probabilities, or for those at sampling time that the data
/// does not give.
pub fn needs_reference(loss: &Loss, data: &Dataset) -> bool {
    loss.needs(Need::Reference) || matches!(old_logps(loss, data), Ok(OldLogps::Reference))
}

/// # Errors
/// Some records with log-probabilities at sampling time, others without.
fn old_logps(loss: &Loss, data: &Dataset) -> Result<OldLogps, Error> {
    if !loss.needs(Need::OldLogps) {
        return Ok(OldLogps::Unread);
    }
    let without = data
        .records
        .iter()
        .filter(|record| record.old_logps.is_empty());
    match without.count() {
        0 => Ok(OldLogps::Data),
        n if n == data.records.len() => Ok(OldLogps::Reference),
        n => {
            let (name, all) = (loss.name(), data.records.len());
            let message = format!(
                "{name}: {n} of {all} records have no `old_logps`, the others have: give all or none"
            );
            Err(Error::data(message))
        }
    }
}

fn ask(loss: &Loss) -> Ask {
    let collisions = loss.needs(Need::VocabStats);
    match (loss.needs(Need::Scores), loss.needs(Need::TokenLogps)) {
        (true, _) => Ask::Scores,
        (false, true) => Ask::Tokens { collisions },
        (false, false) => Ask::Sums,
    }
}

/// Over all completions of a prompt in the data set: a constant of the run.
fn advantages(loss: &Loss, data: &Dataset) -> Result<Vec<f64>, Error> {
    let Some(kind) = loss.advantage() else {
        return Ok(vec![0.0; data.records.len()]);
    };
    let scored = |kind: Advantage| kind.needs_scores();
    if let Some(index) = data
        .records
        .iter()
        .position(|record| scored(kind) && record.score.is_none())
    {
        let (name, id) = (loss.name(), &data.records[index].id);
        let message = format!(
            "{name} compares the rewards of a prompt's answers, but record {id:?} has no `score`"
        );
        return Err(Error::data(message).at(Some(index)));
    }
    let mut rows: Vec<Row> = data
        .records
        .iter()
        .map(|record| Row {
            label: record.label,
            group: record.group,
            score: record.score.unwrap_or_default(),
            ..Row::default()
        })
        .collect();
    advantage::assign(kind, &mut rows);
    Ok(rows.iter().map(|row| row.advantage).collect())
}

/// Paired losses take pairs; all others single records.
fn check_shape(data: &Dataset, loss: &Loss) -> Result<(), Error> {
    let name = loss.name();
    let pairs = data
        .units
        .iter()
        .filter(|unit| matches!(unit, Unit::Pair { .. }))
        .count();
    let (wanted, found) = match loss.data_shape() {
        DataShape::Paired => ("pairs of chosen and rejected", data.units.len() - pairs),
        DataShape::Unpaired | DataShape::Any => ("single labelled examples", pairs),
        DataShape::Grouped => ("single completions", pairs),
    };
    if found > 0 {
        let message = format!(
            "{name} takes {wanted}; {found} of {} units are of the other kind",
            data.units.len()
        );
        return Err(Error::data(message));
    }
    Ok(())
}

/// What a language model cannot answer.
fn check_needs(loss: &Loss) -> Result<(), Error> {
    if loss.needs(Need::Errors) {
        let message = format!(
            "{} reads denoising errors of a diffusion model: evaluate it through the library, there is nothing to train here",
            loss.name()
        );
        return Err(Error::parameter(message));
    }
    Ok(())
}
