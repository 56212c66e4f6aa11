//! Which units an optimiser step sees: a pure function of the seed and the step, so nothing of it needs saving.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, choose, name_of};
use crate::rng::Rng;

/// The order of the units within an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// A fresh permutation every epoch.
    #[default]
    Shuffled,
    /// As in the file, every epoch.
    File,
}

impl Order {
    /// Every order with its name, as on the command line and in files.
    pub const NAMES: [(&'static str, Order); 2] =
        [("shuffled", Order::Shuffled), ("file", Order::File)];
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(name_of(*self, &Order::NAMES))
    }
}

impl std::str::FromStr for Order {
    type Err = Error;

    fn from_str(name: &str) -> Result<Order, Error> {
        choose("order", name, &Order::NAMES)
    }
}

/// The steps of a run over `units` units, `per_step` at a time; an epoch's last step takes what is left.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    units: u64,
    per_step: u64,
    order: Order,
    rng: Rng,
    /// The permutation of the epoch last asked for: a cache, not state.
    epoch: Option<(u64, Vec<usize>)>,
}

impl Steps {
    /// Both counts must be positive.
    pub(crate) fn new(units: usize, per_step: u64, order: Order, seed: u64) -> Steps {
        let rng = Rng::new(seed).fork(ORDER_STREAM);
        Steps {
            units: units as u64,
            per_step,
            order,
            rng,
            epoch: None,
        }
    }

    pub(crate) fn per_epoch(&self) -> u64 {
        self.units.div_ceil(self.per_step)
    }

    /// The units of optimiser step number `step`, counted from 0, as indices in file order.
    pub(crate) fn units(&mut self, step: u64) -> Vec<usize> {
        let (epoch, range) = self.place(step);
        if self.order == Order::File {
            return range.collect();
        }
        if self
            .epoch
            .as_ref()
            .is_none_or(|(cached, _)| *cached != epoch)
        {
            let mut permutation: Vec<usize> = (0..self.units as usize).collect();
            self.rng.fork(epoch).shuffle(&mut permutation);
            self.epoch = Some((epoch, permutation));
        }
        self.epoch
            .as_ref()
            .map_or_else(Vec::new, |(_, permutation)| permutation[range].to_vec())
    }

    /// Epochs completed after `step`, with the fraction of the running one.
    pub(crate) fn epochs_after(&self, step: u64) -> f64 {
        let (epoch, range) = self.place(step);
        (epoch * self.units + range.end as u64) as f64 / self.units as f64
    }

    fn place(&self, step: u64) -> (u64, Range<usize>) {
        let (epoch, index) = (step / self.per_epoch(), step % self.per_epoch());
        let start = index * self.per_step;
        (
            epoch,
            start as usize..(start + self.per_step).min(self.units) as usize,
        )
    }
}

/// Keeps this use of the seed apart from all others.
const ORDER_STREAM: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_visits_every_unit_once_in_another_order() {
        let mut steps = Steps::new(11, 4, Order::Shuffled, 3);
        assert_eq!(steps.per_epoch(), 3);
        let epochs: Vec<Vec<usize>> = (0..2)
            .map(|epoch| (0..3).flat_map(|i| steps.units(epoch * 3 + i)).collect())
            .collect();
        assert_ne!(epochs[0], epochs[1]);
        for mut epoch in epochs {
            epoch.sort_unstable();
            assert_eq!(epoch, (0..11).collect::<Vec<_>>());
        }
        assert_eq!(steps.units(2).len(), 3);
        assert_eq!(
            [0, 1, 2, 3].map(|step| steps.epochs_after(step)),
            [4. / 11., 8. / 11., 1.0, 15. / 11.]
        );
    }

    #[test]
    fn a_step_depends_on_seed_and_number_only() {
        let mut forward = Steps::new(50, 7, Order::Shuffled, 9);
        let all: Vec<_> = (0..30).map(|step| forward.units(step)).collect();
        for step in (0..30).rev() {
            assert_eq!(
                Steps::new(50, 7, Order::Shuffled, 9).units(step),
                all[step as usize]
            );
            assert_eq!(forward.units(step), all[step as usize]);
        }
        assert_ne!(Steps::new(50, 7, Order::Shuffled, 10).units(0), all[0]);
    }

    #[test]
    fn file_order_is_the_files() {
        let mut steps = Steps::new(5, 2, Order::File, 1);
        assert_eq!(
            [0, 1, 2, 3].map(|step| steps.units(step)),
            [vec![0, 1], vec![2, 3], vec![4], vec![0, 1]]
        );
    }
}
