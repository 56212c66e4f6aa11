//! What a run is to do: sizes, order, seed, schedule. Everything here decides the result, and is saved with the state.

use std::collections::BTreeMap;

use halo_loss::Scope;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::order::Order;
use crate::pairing::Mismatch;
use crate::ramp::Ramp;
use crate::schedule::Schedule;

/// The settings of a run. Names are transformers' where it has the thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunPlan {
    /// Units (examples, or pairs) per micro-batch and rank.
    pub batch_size: usize,
    /// Micro-batches per optimiser step. k micro-batches of B are exactly one of k·B where z₀'s scope is the step.
    pub gradient_accumulation_steps: usize,
    /// Optimiser steps in all; `epochs` decides without it.
    pub steps: Option<u64>,
    /// Passes over the data where `steps` is absent; fractions allowed.
    pub epochs: f64,
    /// Seed of the order of units and of what pairing draws.
    pub seed: u64,
    /// The order of units within an epoch.
    pub order: Order,
    /// How y′ is chosen for z₀.
    pub mismatch: Mismatch,
    /// What shares one z₀.
    pub scope: Scope,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// What follows the warm-up.
    pub schedule: Schedule,
    /// Steps over which the rate rises linearly from 0.
    pub warmup_steps: u64,
    /// A checkpoint after every so many steps; one at the end always.
    pub save_every: Option<u64>,
    /// Parameters of the loss that change over the run, by name.
    pub loss_schedule: BTreeMap<String, Ramp>,
    /// How the reference follows the policy; it stays as it is without.
    pub reference_sync: Option<ReferenceSync>,
    /// What a host does with the gradients of several ranks.
    pub gradient_reduce: GradientReduce,
    /// This process among `ranks`, from 0. N ranks of B/N are exactly one rank of B.
    pub rank: usize,
    /// Processes that share every micro-batch.
    pub ranks: usize,
}

/// The reference moves towards the policy: TR-DPO (Gorbatovski et al. 2024, arXiv 2404.09656), and humanline's lag of one step
/// (arXiv 2509.24207).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceSync {
    /// κ: π_ref := κ·π + (1 − κ)·π_ref. 1 replaces it.
    #[serde(default = "whole")]
    pub mix: f64,
    /// At every so many optimiser steps.
    pub every: u64,
    /// When in the step.
    #[serde(default)]
    pub moment: SyncMoment,
}

/// As the command line has it: `MIX:EVERY`, or `MIX:EVERY:before`.
impl std::str::FromStr for ReferenceSync {
    type Err = Error;

    fn from_str(text: &str) -> Result<ReferenceSync, Error> {
        let parts: Vec<&str> = text.split(':').collect();
        let (mix, every, moment) = match parts[..] {
            [mix, every] => (mix, every, "after"),
            [mix, every, moment] => (mix, every, moment),
            _ => ("", "", ""),
        };
        match (mix.parse(), every.parse(), moment) {
            (Ok(mix), Ok(every), "after" | "before") => Ok(ReferenceSync {
                mix,
                every,
                moment: match moment {
                    "before" => SyncMoment::Before,
                    _ => SyncMoment::After,
                },
            }),
            _ => {
                let message =
                    format!("{text:?} is not MIX:EVERY or MIX:EVERY:before, as in 0.6:512");
                Err(Error::parameter(message))
            }
        }
    }
}

fn whole() -> f64 {
    1.0
}

/// What a host does with the gradients of several ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GradientReduce {
    /// It adds them up.
    #[default]
    Sum,
    /// It averages them, as PyTorch's DDP: each rank's are handed out `ranks` times as large.
    Mean,
}

/// When in its step the reference moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncMoment {
    /// After the update, to the new policy: TR-DPO, as TRL.
    #[default]
    After,
    /// Before the update, to the policy that the step's gradient was computed with: humanline.
    Before,
}

impl Default for RunPlan {
    fn default() -> RunPlan {
        RunPlan {
            batch_size: 4,
            gradient_accumulation_steps: 1,
            steps: None,
            epochs: 1.0,
            seed: 0,
            order: Order::Shuffled,
            mismatch: Mismatch::Rotate,
            scope: Scope::Step,
            learning_rate: 5e-6,
            schedule: Schedule::Constant,
            warmup_steps: 0,
            save_every: None,
            loss_schedule: BTreeMap::new(),
            reference_sync: None,
            gradient_reduce: GradientReduce::Sum,
            rank: 0,
            ranks: 1,
        }
    }
}

impl RunPlan {
    /// Units of a whole optimiser step, over all micro-batches and ranks.
    pub fn units_per_step(&self) -> u64 {
        (self.batch_size as u64)
            .saturating_mul(self.gradient_accumulation_steps as u64)
            .saturating_mul(self.ranks as u64)
    }

    /// Optimiser steps of a run over `units` units.
    pub fn total_steps(&self, units: usize) -> u64 {
        let per_epoch = (units as u64).div_ceil(self.units_per_step().max(1));
        self.steps
            .unwrap_or_else(|| (self.epochs * per_epoch as f64).ceil() as u64)
    }

    /// What dL/dlogp is multiplied with on its way out.
    pub(crate) fn seed_scale(&self) -> f64 {
        match self.gradient_reduce {
            GradientReduce::Sum => 1.0,
            GradientReduce::Mean => self.ranks as f64,
        }
    }

    /// # Errors
    /// A setting outside its range, or two that contradict each other; named with what is allowed.
    pub fn validate(&self) -> Result<(), Error> {
        let positive = [
            ("batch_size", Some(self.batch_size as u64)),
            (
                "gradient_accumulation_steps",
                Some(self.gradient_accumulation_steps as u64),
            ),
            ("ranks", Some(self.ranks as u64)),
            ("steps", self.steps),
            ("save_every", self.save_every),
        ];
        for (name, value) in positive {
            if value == Some(0) {
                return Err(Error::parameter(format!("{name} = 0 is outside 1..")));
            }
        }
        if self.rank >= self.ranks {
            let (rank, ranks) = (self.rank, self.ranks);
            return Err(Error::parameter(format!(
                "rank = {rank} is outside 0..{ranks} (ranks = {ranks})"
            )));
        }
        if self.steps.is_none() && !(self.epochs > 0.0 && self.epochs <= MAX_EPOCHS) {
            return Err(Error::parameter(format!(
                "epochs = {} is outside 0 (exclusive)..={MAX_EPOCHS}",
                self.epochs
            )));
        }
        if !(self.learning_rate >= 0.0 && self.learning_rate.is_finite()) {
            return Err(Error::parameter(format!(
                "learning_rate = {} is outside 0..",
                self.learning_rate
            )));
        }
        if let Some(sync) = &self.reference_sync {
            let ReferenceSync { mix, every, .. } = sync;
            if !(*mix > 0.0 && *mix <= 1.0) {
                let message = format!("reference_sync.mix = {mix} is outside 0 (exclusive)..=1");
                return Err(Error::parameter(message));
            }
            if *every == 0 {
                return Err(Error::parameter("reference_sync.every = 0 is outside 1.."));
            }
        }
        match self.mismatch {
            Mismatch::Rotate => Ok(()),
            Mismatch::Trl | Mismatch::Halos => self.validate_blocks(),
        }
    }

    /// TRL builds its pairs once, in data order, in blocks of the micro-batch's size; HALOs within each micro-batch.
    fn validate_blocks(&self) -> Result<(), Error> {
        let name = self.mismatch;
        let refuse = |why: &str| Err(Error::parameter(format!("mismatch = {name} {why}")));
        if self.mismatch == Mismatch::Trl && self.order != Order::File {
            return refuse("pairs neighbours in data order: it needs order = file");
        }
        if self.scope != Scope::Microbatch {
            return refuse("estimates z0 per micro-batch: it needs scope = microbatch");
        }
        if self.batch_size < 2 {
            return refuse(
                "needs batch_size of at least 2: alone, a prompt meets its own completion",
            );
        }
        Ok(())
    }

    /// Whether a run saved under `saved` may go on under this plan.
    ///
    /// The rank and the rhythm of checkpoints are free; the length is too where the schedule does not look at it.
    ///
    /// # Errors
    /// The first setting that changed, with both values.
    pub(crate) fn continues(&self, saved: &RunPlan) -> Result<(), Error> {
        let changed = |name: &str, now: &dyn std::fmt::Debug, then: &dyn std::fmt::Debug| {
            let message = format!("{name} = {now:?}, but the saved run has {then:?}");
            Err(Error::new(crate::error::Kind::State, message))
        };
        macro_rules! same {
            ($($field:ident)*) => {
                $(if self.$field != saved.$field {
                    return changed(stringify!($field), &self.$field, &saved.$field);
                })*
            };
        }
        same!(batch_size gradient_accumulation_steps ranks seed order mismatch scope learning_rate schedule warmup_steps);
        same!(loss_schedule reference_sync);
        if self.schedule != Schedule::Constant || !self.loss_schedule.is_empty() {
            same!(steps epochs);
        }
        Ok(())
    }
}

/// Far beyond any use, and small enough that step counts stay exact in f64.
const MAX_EPOCHS: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut RunPlan)) -> String {
        let mut plan = RunPlan::default();
        change(&mut plan);
        let error = plan.validate().unwrap_err();
        assert!(error.is_parameter());
        error.to_string()
    }

    #[test]
    fn a_setting_outside_its_range_is_named_with_the_range() {
        assert!(RunPlan::default().validate().is_ok());
        assert_eq!(
            refused(|p| p.batch_size = 0),
            "batch_size = 0 is outside 1.."
        );
        assert_eq!(refused(|p| p.steps = Some(0)), "steps = 0 is outside 1..");
        assert_eq!(
            refused(|p| p.rank = 1),
            "rank = 1 is outside 0..1 (ranks = 1)"
        );
        assert!(refused(|p| p.epochs = f64::NAN).starts_with("epochs = NaN is outside"));
        assert!(refused(|p| p.learning_rate = -1.0).starts_with("learning_rate = -1 is outside"));
    }

    #[test]
    fn trls_pairs_need_file_order_microbatch_scope_and_two_rows() {
        let trl = |p: &mut RunPlan| {
            (p.mismatch, p.order, p.scope) = (Mismatch::Trl, Order::File, Scope::Microbatch);
        };
        let mut plan = RunPlan::default();
        trl(&mut plan);
        assert!(plan.validate().is_ok());
        assert!(
            refused(|p| {
                trl(p);
                p.order = Order::Shuffled
            })
            .contains("order = file")
        );
        assert!(
            refused(|p| {
                trl(p);
                p.scope = Scope::Step
            })
            .contains("scope = microbatch")
        );
        assert!(
            refused(|p| {
                trl(p);
                p.batch_size = 1
            })
            .contains("at least 2")
        );
    }

    #[test]
    fn a_run_goes_on_under_the_same_plan_only() {
        let saved = RunPlan {
            ranks: 2,
            ..RunPlan::default()
        };
        let mut now = RunPlan {
            rank: 1,
            save_every: Some(5),
            epochs: 9.0,
            ..saved.clone()
        };
        assert!(now.continues(&saved).is_ok());
        now.seed = 4;
        let error = now.continues(&saved).unwrap_err();
        assert!(error.is_state());
        assert_eq!(error.to_string(), "seed = 4, but the saved run has 0");
        let linear = RunPlan {
            schedule: Schedule::Linear,
            ..saved
        };
        assert!(
            RunPlan {
                epochs: 9.0,
                ..linear.clone()
            }
            .continues(&linear)
            .is_err()
        );
    }

    #[test]
    fn a_synchronisation_is_read_as_it_is_written() {
        let read = |text: &str| text.parse::<ReferenceSync>();
        let sync = read("0.6:512").unwrap();
        assert_eq!(
            (sync.mix, sync.every, sync.moment),
            (0.6, 512, SyncMoment::After)
        );
        assert_eq!(read("1:1:before").unwrap().moment, SyncMoment::Before);
        for wrong in ["", "0.6", "0.6:x", "0.6:2:later", "0.6:2:after:1"] {
            assert!(
                read(wrong).unwrap_err().to_string().contains("MIX:EVERY"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn epochs_count_steps_rounded_up() {
        let plan = RunPlan {
            batch_size: 4,
            gradient_accumulation_steps: 2,
            epochs: 1.5,
            ..RunPlan::default()
        };
        assert_eq!(plan.total_steps(17), 5); // 3 steps an epoch
        assert_eq!(
            RunPlan {
                steps: Some(7),
                ..plan
            }
            .total_steps(17),
            7
        );
    }
}
