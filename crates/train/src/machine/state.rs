//! Saving and restoring a machine.

use std::sync::Arc;

use halo_loss::{Loss, ParamValue, Params};
use serde::{Deserialize, Serialize};

use super::Machine;
use crate::error::{Error, Kind};
use crate::plan::RunPlan;
use crate::records::Dataset;

/// Where a run stands, between two optimiser steps.
///
/// Small, because order, pairing and schedule are functions of the seed and the step: a cursor, and what must not have
/// changed for it to mean the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineState {
    /// Version of this form.
    pub version: u32,
    /// Optimiser steps completed.
    pub step: u64,
    /// The settings of the run.
    pub plan: RunPlan,
    /// The loss's registered name.
    pub loss: String,
    /// All its parameters.
    pub params: Params,
    /// [`Dataset::fingerprint`] in hexadecimal.
    pub data: String,
    /// What the reference point's estimator remembers of earlier steps.
    #[serde(default)]
    pub memory: Vec<f64>,
    /// The peak learning rate, where the host set another than the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

const VERSION: u32 = 2;

impl Machine {
    /// What [`Machine::restore`] needs. During a step it is the state before that step.
    pub fn state(&self) -> MachineState {
        MachineState {
            version: VERSION,
            step: self.completed,
            plan: self.setup.plan.clone(),
            loss: self.setup.loss.name().into(),
            params: self.setup.loss.params().clone(),
            data: self.setup.fingerprint.clone(),
            memory: self.memory.clone(),
            learning_rate: Some(self.setup.learning_rate)
                .filter(|rate| *rate != self.setup.plan.learning_rate),
        }
    }

    /// A machine that goes on where `state` was taken: every further [`Work`](super::Work) is the same.
    ///
    /// `plan` may differ from the saved one in the rank and the rhythm of checkpoints, and under a constant schedule
    /// in the number of steps.
    ///
    /// # Errors
    /// Those of [`Machine::new`]; a state of another version, loss, data set or plan, naming what changed.
    pub fn restore(
        plan: RunPlan,
        data: Arc<Dataset>,
        loss: Loss,
        state: &MachineState,
    ) -> Result<Machine, Error> {
        let refuse = |message: String| Err(Error::new(Kind::State, message));
        if state.version != VERSION {
            return refuse(format!(
                "the saved run's state has version {}; this is version {VERSION}",
                state.version
            ));
        }
        plan.continues(&state.plan)?;
        if loss.name() != state.loss {
            return refuse(format!(
                "loss = {:?}, but the saved run has {:?}",
                loss.name(),
                state.loss
            ));
        }
        let changed = |(key, value): &(&str, &ParamValue)| state.params.get(key) != Some(*value);
        if let Some((key, now)) = loss.params().iter().find(changed) {
            let then = state
                .params
                .get(key)
                .map_or("nothing".into(), ParamValue::to_string);
            return refuse(format!(
                "{}: {key} = {now}, but the saved run has {then}",
                state.loss
            ));
        }
        let mut machine = Machine::new(plan, data, loss)?;
        if machine.setup.fingerprint != state.data {
            return refuse("the data is not the data of the saved run".into());
        }
        if let Some(rate) = state.learning_rate {
            machine.set_learning_rate(rate)?;
        }
        machine.completed = state.step;
        machine.memory.clone_from(&state.memory);
        Ok(machine)
    }
}
