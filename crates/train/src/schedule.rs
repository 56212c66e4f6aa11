//! The learning rate over the optimiser steps, as transformers' `get_scheduler` gives it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, choose, name_of};

/// What follows the warm-up, which always rises linearly from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Stays (`constant_with_warmup`).
    #[default]
    Constant,
    /// Falls linearly to 0 at the last step's end.
    Linear,
    /// Falls to 0 along half a cosine.
    Cosine,
}

impl Schedule {
    /// Every schedule with its name, as on the command line and in files.
    pub const NAMES: [(&'static str, Schedule); 3] = [
        ("constant", Schedule::Constant),
        ("linear", Schedule::Linear),
        ("cosine", Schedule::Cosine),
    ];

    /// The share of the peak learning rate that update number `step` uses, counted from 0, of `total` updates.
    ///
    /// As in transformers, update 0 of a warm-up has rate 0, and the last update of a decay is not yet at 0.
    pub fn factor(self, step: u64, warmup_steps: u64, total: u64) -> f64 {
        if step < warmup_steps {
            return step as f64 / warmup_steps as f64;
        }
        let decay = total.saturating_sub(warmup_steps).max(1) as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear => total.saturating_sub(step) as f64 / decay,
            Schedule::Cosine => {
                let progress = (step - warmup_steps) as f64 / decay;
                (0.5 * (1.0 + libm::cos(core::f64::consts::PI * progress))).max(0.0)
            }
        }
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(name_of(*self, &Schedule::NAMES))
    }
}

impl std::str::FromStr for Schedule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Schedule, Error> {
        choose("schedule", name, &Schedule::NAMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: Schedule) -> Vec<f64> {
        (0..10).map(|step| schedule.factor(step, 4, 10)).collect()
    }

    #[test]
    fn the_factors_are_those_of_transformers() {
        // transformers.get_scheduler(name, optimizer, num_warmup_steps=4, num_training_steps=10), lr = 1, LambdaLR.
        let warmup = [0.0, 0.25, 0.5, 0.75];
        let cases = [
            (Schedule::Constant, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
            (
                Schedule::Linear,
                [
                    1.0,
                    0.8333333333333334,
                    0.6666666666666666,
                    0.5,
                    0.3333333333333333,
                    0.16666666666666666,
                ],
            ),
            (
                Schedule::Cosine,
                [
                    1.0,
                    0.9330127018922194,
                    0.75,
                    0.5,
                    0.25,
                    0.06698729810778059,
                ],
            ),
        ];
        for (schedule, after) in cases {
            for (ours, theirs) in factors(schedule).iter().zip(warmup.iter().chain(&after)) {
                assert!(
                    (ours - theirs).abs() < 1e-15,
                    "{schedule:?}: {ours} {theirs}"
                ); // libm against Python's cos
            }
        }
    }

    #[test]
    fn no_step_divides_by_zero_or_falls_below_zero() {
        for (_, schedule) in Schedule::NAMES {
            for (step, warmup, total) in
                [(0, 0, 0), (5, 0, 1), (7, 7, 7), (9, 3, 3), (u64::MAX, 1, 2)]
            {
                let factor = schedule.factor(step, warmup, total);
                assert!(
                    (0.0..=1.0).contains(&factor),
                    "{schedule:?} {step} {warmup} {total}: {factor}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_the_candidates() {
        assert_eq!(
            Schedule::NAMES[2].0.parse::<Schedule>().unwrap(),
            Schedule::Cosine
        );
        let message = "cosin".parse::<Schedule>().unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown schedule \"cosin\"; known: constant, linear, cosine"
        );
    }
}
