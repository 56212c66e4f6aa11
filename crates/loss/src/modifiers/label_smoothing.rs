//! Labels that are taken to be wrong with some probability: Mitchell's note on conservative DPO (2023), for any loss.
//!
//! (1 − ε)·L(unit) + ε·L(unit with its roles exchanged): on `dpo` this is cDPO's formula.

use super::Modifier;
use crate::example::Sequence;
use crate::spec::{self, ParamSpec};

pub(crate) static MODIFIER: Modifier = Modifier {
    name: "label_smoothing",
    meaning: "the loss of the label as given and of the opposite one, weighed 1 - e to e: for labels that are wrong with probability e",
    params: &[PARAM],
    needs: &[],
};

const PARAM: ParamSpec = spec::label_smoothing(0.0, (0.0, 0.5));

/// The same rows with the opposite judgement; their derivatives stay with the rows.
pub(super) fn turned<const N: usize>(unit: &[Sequence<N>; N]) -> [Sequence<N>; N] {
    let mut unit = *unit;
    unit.reverse();
    for row in &mut unit {
        row.label = row.label.opposite();
    }
    unit
}
