//! The only loop over examples and the only reduction.

use alloc::format;
use alloc::vec::Vec;

use crate::error::Error;
use crate::example::{Label, Row, Sequence};
use crate::loss::Loss;
use crate::losses::{Denominator, Formula, Kernel};
use crate::reference_point::Point;
use crate::saturation::{TOLERANCE, Zone};
use crate::spec::{DataShape, Need};

/// What sums are divided by: the counts of the whole optimiser step, over all micro-batches and ranks, so
/// that accumulation and ranks give exactly the gradient of the big batch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Normalizer {
    /// Rows, or pairs for a paired loss.
    pub units: f64,
    /// Completion tokens of all rows.
    pub tokens: f64,
}

impl Normalizer {
    /// The counts of rows that are the whole step.
    pub fn of(loss: &Loss, rows: &[Row]) -> Normalizer {
        Normalizer {
            units: (rows.len() / loss.rows_per_unit()) as f64,
            tokens: rows.iter().map(|row| f64::from(row.tokens)).sum(),
        }
    }
}

/// A loss on some rows.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Evaluation {
    /// Sum of the values over the normaliser: these rows' share of the step's loss.
    pub loss: f64,
    /// dL/dlogp per row, normalised. A completion's every token receives its row's.
    pub dlogps: Vec<f64>,
    /// β·r per row, nats; 0 where the loss has no reference.
    pub rewards: Vec<f64>,
    /// Where each row stands, at a tolerance of 0.01; the two rows of a pair share theirs.
    pub zones: Vec<Zone>,
    /// The loss per unit (row or pair), before normalisation and with its weight.
    pub values: Vec<f64>,
    /// Units whose value is a chord's and not the paper's curve (value=kahneman_tversky near 0).
    pub clipped: usize,
}

/// Evaluates a loss and its gradient on rows, with a reference point that the loss's estimator gave (the
/// default where it has none). No rows give zero.
///
/// # Errors
/// Rows that the loss cannot read (a log-probability that is not finite, a pair not in the order chosen, rejected,
/// an empty completion where lengths count), each named; a normaliser or point that is no number; a result
/// that overflows.
pub fn evaluate(
    loss: &Loss,
    rows: &[Row],
    point: &Point,
    norm: &Normalizer,
) -> Result<Evaluation, Error> {
    let (name, divisor) = match loss.denominator() {
        Denominator::Units => ("units", norm.units),
        Denominator::Tokens => ("tokens", norm.tokens),
    };
    let countable = divisor > 0.0 && divisor.is_finite();
    if !countable && !rows.is_empty() {
        return Err(Error::data(
            name,
            format!("normaliser: {name} = {divisor} is not a positive count"),
        ));
    }
    if !point.value.is_finite() {
        return Err(Error::data(
            "reference_point",
            format!("reference point {} is not finite", point.value),
        ));
    }
    match loss.kernel() {
        Kernel::Row(formula) => reduce(loss, formula.as_ref(), rows, point, divisor),
        Kernel::Pair(formula) => reduce(loss, formula.as_ref(), rows, point, divisor),
    }
}

fn reduce<const N: usize>(
    loss: &Loss,
    formula: &dyn Formula<N>,
    rows: &[Row],
    point: &Point,
    divisor: f64,
) -> Result<Evaluation, Error> {
    let bounds = formula.bounds(TOLERANCE);
    let mut result = Evaluation {
        dlogps: Vec::with_capacity(rows.len()),
        rewards: Vec::with_capacity(rows.len()),
        zones: Vec::with_capacity(rows.len()),
        values: Vec::with_capacity(rows.len() / N),
        ..Evaluation::default()
    };
    let mut sum = 0.0;
    let mut overflow = None;
    for_each_unit(loss, rows, |first, unit| {
        let value = formula.value(unit, point);
        if !(value.value.is_finite() && value.gradient.iter().all(|g| g.is_finite())) {
            overflow.get_or_insert(first);
        }
        sum += value.value;
        result.values.push(value.value);
        result.dlogps.extend(value.gradient.map(|g| g / divisor));
        result
            .rewards
            .extend(unit.iter().map(|row| formula.reward(row)));
        result
            .zones
            .extend([bounds.zone(formula.progress(unit, point)); N]);
        result.clipped += usize::from(formula.clipped(unit, point));
    })?;
    if let Some(row) = overflow {
        return Err(Error::at_row(
            "logp",
            row,
            "the loss overflows: log-probabilities are too large to be real",
        ));
    }
    if !rows.is_empty() {
        result.loss = sum / divisor;
    }
    Ok(result)
}

/// Hands the rows over in units of `N`, after a check that the loss can read them.
pub(crate) fn for_each_unit<const N: usize>(
    loss: &Loss,
    rows: &[Row],
    mut each: impl FnMut(usize, &[Sequence<N>; N]),
) -> Result<(), Error> {
    let (units, rest) = rows.as_chunks::<N>();
    if !rest.is_empty() {
        let message = format!(
            "{} needs rows in groups of {N}, got {}",
            loss.spec().name,
            rows.len()
        );
        return Err(Error::data("rows", message));
    }
    let paired = loss.data_shape() == DataShape::Paired;
    for (index, unit) in units.iter().enumerate() {
        for (offset, row) in unit.iter().enumerate() {
            let expected = if offset == 0 {
                Label::Desirable
            } else {
                Label::Undesirable
            };
            check(loss, index * N + offset, row, paired.then_some(expected))?;
        }
        each(
            index * N,
            &core::array::from_fn(|offset| Sequence::new(&unit[offset], offset)),
        );
    }
    Ok(())
}

fn check(loss: &Loss, index: usize, row: &Row, expected: Option<Label>) -> Result<(), Error> {
    if !row.logp.is_finite() {
        return Err(Error::at_row(
            "logp",
            index,
            format!("logp = {} is not finite", row.logp),
        ));
    }
    if loss.needs(Need::Reference) && !row.ref_logp.is_finite() {
        return Err(Error::at_row(
            "ref_logp",
            index,
            format!("ref_logp = {} is not finite", row.ref_logp),
        ));
    }
    if loss.needs(Need::Lengths) && row.tokens == 0 {
        return Err(Error::at_row(
            "tokens",
            index,
            "the completion has no tokens",
        ));
    }
    if expected.is_some_and(|label| label != row.label) {
        return Err(Error::at_row(
            "label",
            index,
            "pairs are rows of chosen (desirable), rejected (undesirable), in turn",
        ));
    }
    Ok(())
}
