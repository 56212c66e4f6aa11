//! A trial: a short run on a part of the data, which can then be measured on the prompts that it never saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use halo_loss::Label;
use halo_train::{Dataset, Record, Rng, Unit, Which};

use super::Session;
use crate::config::TrainConfig;
use crate::{Error, Result};

/// Steps of a trial, unless an epoch has fewer or others are asked for.
const STEPS: u64 = 50;

/// Keeps this use of the seed apart from all others.
const SPLIT_STREAM: u64 = 0x7475_6e65;

/// How a trial differs from its run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The share of the examples that is held out; whole prompts, so it is met to within one.
    pub held_out: f64,
    /// Optimizer steps; `None`: an epoch of the training part or 50, whichever is shorter, and never more than the run has.
    pub steps: Option<u64>,
}

impl Session {
    /// Opens a trial of a run. It starts as the run would, from the same weights and the same seed.
    ///
    /// # Errors
    /// As [`Session::open`]; data of which no prompt can be held out.
    pub fn open_trial(config: TrainConfig, trial: &Trial) -> Result<Session> {
        Session::open_for(config, false, Some(trial))
    }

    /// The examples that a trial does not train on; `None` of a run that is no trial.
    pub fn held_out(&self) -> Option<&Arc<Dataset>> {
        self.held_out.as_ref()
    }

    /// ln π of each record's completion after its prompt under one of the two models as it stands now, sums in nats.
    ///
    /// # Errors
    /// A log-probability that is not finite, named by record; a reference that the session does not have.
    pub fn logps(&mut self, data: &Dataset, model: Which) -> Result<Vec<f64>> {
        self.ready.logps(data, model)
    }
}

impl Trial {
    /// Training part and held-out part: whole prompts, drawn by the seed, each part in the order of the file.
    ///
    /// # Errors
    /// A share outside 0.01..=0.9; data with one prompt only.
    pub fn divide(&self, data: &Dataset, seed: u64) -> Result<(Dataset, Dataset)> {
        if !(0.01..=0.9).contains(&self.held_out) {
            let message = format!("held_out = {}; allowed: 0.01 to 0.9", self.held_out);
            return Err(Error::parameter(message).with_argument("held_out"));
        }
        let group = |unit: &Unit| unit.records().next().map(|r| data.records[r].group);
        let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
        for group in data.units.iter().filter_map(group) {
            *sizes.entry(group).or_default() += 1;
        }
        let mut groups: Vec<(u32, usize)> = sizes.into_iter().collect();
        if groups.len() < 2 {
            return Err(Error::data(
                "all examples share one prompt: none can be held out, because a prompt stands in one part only",
            ));
        }
        let mut rng = Rng::new(seed).fork(SPLIT_STREAM);
        // Fisher and Yates
        for last in (1..groups.len()).rev() {
            let other = rng.below(last as u64 + 1) as usize;
            groups.swap(last, other);
        }
        let wanted = (self.held_out * data.units.len() as f64).ceil() as usize;
        let mut taken = 0;
        let mut held = BTreeSet::new();
        // one prompt at least stays to train on
        for (group, size) in groups.into_iter().skip(1) {
            if taken >= wanted {
                break;
            }
            held.insert(group);
            taken += size;
        }
        let is_held = |unit: &Unit| group(unit).is_some_and(|group| held.contains(&group));
        Ok((
            part(data, |unit| !is_held(unit))?,
            part(data, |unit| is_held(unit))?,
        ))
    }

    /// The run's configuration for the trial's steps; a warm-up keeps its share of the run.
    pub(super) fn shorten(&self, config: &mut TrainConfig, units: usize) {
        let plan = config.plan();
        let whole = plan.total_steps(units).max(1);
        let epoch = halo_train::RunPlan {
            steps: None,
            epochs: 1.0,
            ..plan
        }
        .total_steps(units);
        let steps = self
            .steps
            .unwrap_or_else(|| epoch.min(STEPS).min(whole))
            .max(1);
        config.max_steps = Some(steps);
        let warmup = config.warmup_steps as f64 / whole as f64 * steps as f64;
        config.warmup_steps = config.warmup_steps.min(warmup.round() as u64);
    }
}

/// The units chosen, with their records alone.
fn part(data: &Dataset, chosen: impl Fn(&Unit) -> bool) -> Result<Dataset> {
    let mut records: Vec<Record> = Vec::new();
    let mut take = |record: usize| {
        records.push(data.records[record].clone());
        records.len() - 1
    };
    let units = data.units.iter().filter(|unit| chosen(unit));
    let units: Vec<Unit> = units
        .map(|unit| match *unit {
            Unit::Single(record) => Unit::Single(take(record)),
            Unit::Pair { chosen, rejected } => Unit::Pair {
                chosen: take(chosen),
                rejected: take(rejected),
            },
        })
        .collect();
    Ok(Dataset::new(records, units)?)
}

/// How many records are desirable and undesirable.
pub(super) fn classes(data: &Dataset) -> [usize; 2] {
    [Label::Desirable, Label::Undesirable].map(|label| {
        let records = data.records.iter();
        records.filter(|record| record.label == label).count()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prompt_stands_in_both_parts_and_the_seed_decides() {
        let records = (0..60u32).map(|i| Record {
            id: i.to_string(),
            prompt: vec![i / 3],
            completion: vec![1, 2],
            ..Record::default()
        });
        let data = Dataset::new(records.collect(), (0..60).map(Unit::Single).collect()).unwrap();
        let trial = Trial {
            held_out: 0.2,
            steps: None,
        };
        let prompts = |data: &Dataset| -> BTreeSet<Vec<u32>> {
            data.records.iter().map(|r| r.prompt.clone()).collect()
        };
        let (training, held) = trial.divide(&data, 7).unwrap();
        assert!(prompts(&training).is_disjoint(&prompts(&held)));
        assert_eq!((training.units.len(), held.units.len()), (48, 12));
        assert_eq!(prompts(&trial.divide(&data, 7).unwrap().1), prompts(&held));
        assert_ne!(prompts(&trial.divide(&data, 8).unwrap().1), prompts(&held));
    }
}
