//! The gradient alone, block by block: what a host with a million rows asks for, without a list of them.

use alloc::vec::Vec;

use crate::error::Error;
use crate::evaluate::{Normalizer, countable, finite, weighted};
use crate::example::Row;
use crate::loss::{Loss, Part};
use crate::losses::{Formula, Kernel};
use crate::modifiers::TokenRules;
use crate::readable::check;
use crate::spec::Need;
use crate::units::sequences;

/// A loss of units that do not know each other, for rows that come in blocks: the numbers are those of [`crate::evaluate()`] to
/// the bit, if the values are added up in the order of the rows and divided by [`Blocks::divisor`].
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    loss: &'a Loss,
    part: &'a Part,
    divisor: f64,
}

impl<'a> Blocks<'a> {
    /// None for a loss that must see all rows at once or their tokens: a weighted sum, one whose units know each other, one of
    /// tokens.
    ///
    /// # Errors
    /// A normaliser that is no number.
    pub fn new(loss: &'a Loss, norm: &Normalizer) -> Result<Option<Blocks<'a>>, Error> {
        let [part] = loss.parts() else {
            return Ok(None);
        };
        let reads_tokens = loss.needs(Need::TokenLogps);
        let rules = part.built.tokens != TokenRules::default();
        if loss.is_sum() || loss.couples() || reads_tokens || rules {
            return Ok(None);
        }
        let (name, divisor) = part.built.denominator.of(norm);
        countable(name, divisor)?;
        Ok(Some(Blocks {
            loss,
            part,
            divisor,
        }))
    }

    /// What the sum of the values is divided by.
    pub fn divisor(&self) -> f64 {
        self.divisor
    }

    /// Values per unit, before normalisation, and dL/dlogp per row, normalised: written over what `values` and `dlogps` hold.
    ///
    /// # Errors
    /// As [`crate::evaluate()`]; rows are counted within the block.
    pub fn block(
        &self,
        rows: &[Row],
        values: &mut Vec<f64>,
        dlogps: &mut Vec<f64>,
    ) -> Result<(), Error> {
        check(self.loss, &rows.into())?;
        values.clear();
        dlogps.clear();
        match &self.part.built.kernel {
            Kernel::Row(formula) => self.units(formula.as_ref(), rows, values, dlogps),
            Kernel::Pair(formula) => self.units(formula.as_ref(), rows, values, dlogps),
            Kernel::Token(_) => Ok(()),
        }
    }

    fn units<const N: usize>(
        &self,
        formula: &dyn Formula<N>,
        rows: &[Row],
        values: &mut Vec<f64>,
        dlogps: &mut Vec<f64>,
    ) -> Result<(), Error> {
        let estimated = self.part.built.needs.contains(&Need::ReferencePoint);
        values.reserve(rows.len() / N);
        dlogps.reserve(rows.len());
        for (unit, rows) in rows.as_chunks::<N>().0.iter().enumerate() {
            let sequences = sequences(rows, estimated);
            let value = weighted(formula, &sequences, rows[0].weight);
            finite(unit * N, value.value, &value.gradient)?;
            values.push(value.value);
            for slope in value.gradient {
                dlogps.push(match slope == 0.0 {
                    true => 0.0,
                    false => slope / self.divisor,
                });
            }
        }
        Ok(())
    }
}
