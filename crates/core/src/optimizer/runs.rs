//! The bank as the optimiser sees it: runs of neighbouring parameters, each with its moments.

use std::collections::BTreeMap;
use std::ops::Range;

use halo_kernels::optim::eight_bit;

use super::Optim;
use crate::array::Array;
use crate::bank::{Bank, Entry};
use crate::device::Dtype;
use crate::ops::optim::{EightBit, Moments};
use crate::tensor_file::{Content, SaveDtype};
use crate::weights::Weights;
use crate::{Error, Result};

/// The moments' names in a checkpoint, as torch calls them, and those of 8-bit moments' scales.
const NAMES: [&str; 2] = ["exp_avg", "exp_avg_sq"];
const SCALES: [&str; 2] = ["exp_avg_max", "exp_avg_sq_max"];

/// What one update takes at once.
pub(super) struct Run {
    /// In the bank's list.
    entries: Range<usize>,
    /// In its flat buffers.
    pub(super) range: Range<usize>,
    /// Whether weight decay applies.
    pub(super) decay: bool,
    pub(super) moments: Moments,
}

/// A run's moments, out of a checkpoint.
pub(crate) enum Kept {
    F32([Vec<f32>; 2]),
    EightBit {
        codes: [Vec<u8>; 2],
        scales: [Vec<f32>; 2],
    },
}

/// All runs with zero moments.
///
/// Neighbours of equal decay are one run. A matrix with 8-bit moments is a run of its own, so that no two parameters share a
/// scale. Vectors (norms, biases) keep f32 moments: they are few, and what a model does hangs on each of their numbers.
pub(super) fn of(bank: &Bank, optim: Optim) -> Result<Vec<Run>> {
    let device = bank.flat().0.device();
    let mut runs: Vec<Run> = Vec::new();
    for (entries, coded) in spans(bank.entries(), optim) {
        let range =
            bank.entries()[entries.start].range.start..bank.entries()[entries.end - 1].range.end;
        let zeros = || Array::zeros(&device, Dtype::F32, [range.len()]);
        let moments = if coded {
            let first = runs.iter().find_map(|run| match &run.moments {
                Moments::EightBit(moments) => Some(moments),
                Moments::F32(_) => None,
            });
            Moments::EightBit(EightBit::zeros(&device, range.len(), first)?)
        } else {
            Moments::F32([zeros()?, zeros()?])
        };
        runs.push(Run {
            decay: bank.entries()[entries.start].decay,
            entries,
            range,
            moments,
        });
    }
    Ok(runs)
}

/// Which entries make a run, and whether its moments are of 8 bits.
fn spans(entries: &[Entry], optim: Optim) -> Vec<(Range<usize>, bool)> {
    let coded = |entry: &Entry| optim == Optim::AdamW8bit && entry.shape.len() > 1;
    let mut spans: Vec<(Range<usize>, bool)> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        match spans.last_mut() {
            Some((span, false)) if !coded(entry) && entries[span.start].decay == entry.decay => {
                span.end = at + 1;
            }
            _ => spans.push((at..at + 1, coded(entry))),
        }
    }
    spans
}

impl Run {
    /// Adds the moments as the tensors of a checkpoint.
    pub(super) fn contents<'a>(
        &'a self,
        bank: &'a Bank,
        all: &mut BTreeMap<String, Content<'a>>,
    ) -> Result<()> {
        for entry in &bank.entries()[self.entries.clone()] {
            let named = |kind: &str| format!("{kind}.{}", entry.name);
            match &self.moments {
                Moments::F32(moments) => {
                    for (kind, flat) in NAMES.iter().zip(moments) {
                        let view = flat.part(self.within(entry), entry.shape.as_slice())?;
                        all.insert(named(kind), Content::Numbers(view, SaveDtype::F32));
                    }
                }
                Moments::EightBit(moments) => {
                    for (kind, codes) in NAMES.iter().zip(moments.codes()) {
                        all.insert(named(kind), Content::Codes(codes, &entry.shape));
                    }
                    for (kind, scales) in SCALES.iter().zip(moments.scales()?) {
                        all.insert(named(kind), Content::Numbers(scales, SaveDtype::F32));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the moments of a checkpoint.
    pub(super) fn read(&self, bank: &Bank, stored: &Weights) -> Result<Kept> {
        let entries = &bank.entries()[self.entries.clone()];
        let of = |kind: &str| -> Result<Vec<f32>> {
            let mut all = Vec::with_capacity(self.range.len());
            for entry in entries {
                all.extend(stored.read(&format!("{kind}.{}", entry.name), &entry.shape)?);
            }
            Ok(all)
        };
        let Moments::EightBit(_) = &self.moments else {
            return Ok(Kept::F32([of(NAMES[0])?, of(NAMES[1])?]));
        };
        // a run of one matrix
        let entry = &entries[0];
        let blocks = [eight_bit::blocks(self.range.len())];
        let codes = |kind| stored.read_codes(&format!("{kind}.{}", entry.name), &entry.shape);
        let scales = |kind| stored.read(&format!("{kind}.{}", entry.name), &blocks);
        Ok(Kept::EightBit {
            codes: [codes(NAMES[0])?, codes(NAMES[1])?],
            scales: [scales(SCALES[0])?, scales(SCALES[1])?],
        })
    }

    /// Puts back what [`Run::read`] gave.
    pub(super) fn put(&mut self, kept: Kept) -> Result<()> {
        match (&mut self.moments, kept) {
            (Moments::F32(moments), Kept::F32(values)) => {
                let mut both = moments.iter().zip(&values);
                both.try_for_each(|(flat, values)| flat.write(values))
            }
            (Moments::EightBit(moments), Kept::EightBit { codes, scales }) => {
                moments.write(codes, scales)
            }
            _ => Err(Error::internal(
                "moments of another kind than the optimiser's",
            )),
        }
    }

    /// An entry's numbers within this run's.
    fn within(&self, entry: &Entry) -> Range<usize> {
        entry.range.start - self.range.start..entry.range.end - self.range.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Placement;

    fn bank() -> Bank {
        let specs = [
            ("1.bias", vec![64], false),
            ("1.norm", vec![64], false),
            ("2.weight", vec![64, 32], true),
            ("3.weight", vec![10, 25], true),
        ];
        let specs = specs.map(|(name, shape, decay)| (name.into(), shape, decay));
        Bank::new(specs, &Placement::default()).unwrap()
    }

    /// Bytes of the moments of the parameters whose names end so.
    fn bytes(bank: &Bank, optim: Optim, name: &str) -> usize {
        let runs = of(bank, optim).unwrap();
        let mut all = BTreeMap::new();
        for run in &runs {
            run.contents(bank, &mut all).unwrap();
        }
        let of_name = all.iter().filter(|(key, _)| key.ends_with(name));
        of_name.map(|(_, content)| content.bytes()).sum()
    }

    #[test]
    fn moments_take_eight_bytes_a_parameter_and_those_of_matrices_two_with_8_bits() {
        let bank = bank();
        let of_name = |optim, name| bytes(&bank, optim, name);
        assert_eq!(of_name(Optim::AdamW, ""), 8 * bank.len());
        // A scale for each of 8 whole blocks: 2 + 8/256 bytes a parameter.
        assert_eq!(of_name(Optim::AdamW8bit, "2.weight"), 64 * 32 * 2 + 64);
        // One begun block.
        assert_eq!(of_name(Optim::AdamW8bit, "3.weight"), 250 * 2 + 8);
        for vector in ["1.bias", "1.norm"] {
            assert_eq!(of_name(Optim::AdamW8bit, vector), 8 * 64);
        }
    }

    #[test]
    fn a_run_is_of_neighbours_of_equal_decay_or_one_matrix_of_8_bits() {
        let bank = bank();
        let ranges = |optim| -> Vec<(Range<usize>, bool)> {
            let runs = of(&bank, optim).unwrap().into_iter();
            runs.map(|run| (run.range, run.decay)).collect()
        };
        assert_eq!(ranges(Optim::AdamW), [(0..128, false), (128..2426, true)]);
        let expected = [(0..128, false), (128..2176, true), (2176..2426, true)];
        assert_eq!(ranges(Optim::AdamW8bit), expected);
    }
}
