//! The only loop over examples and the only reduction.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::dual::Dual;
use crate::error::Error;
use crate::example::{Batch, Label, Row, Sequence, Token};
use crate::loss::{Loss, Part};
use crate::losses::{Denominator, Formula, Kernel, TokenFormula};
use crate::modifiers::Prepared;
use crate::readable::check;
use crate::saturation::{Zone, scaled};
use crate::spec::{DataShape, Need};
use crate::units::units;

/// What sums are divided by: the counts of the whole optimiser step, over all micro-batches and ranks, so
/// that accumulation and ranks give exactly the gradient of the big batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Normalizer {
    /// Rows, or pairs for a paired loss.
    pub units: f64,
    /// Completion tokens of all rows.
    pub tokens: f64,
    /// Those of the desirable rows: what a likelihood beside a preference is divided by.
    pub desirable_tokens: f64,
}

impl Normalizer {
    /// The counts of rows that are the whole step.
    pub fn of(loss: &Loss, rows: &[Row]) -> Normalizer {
        let tokens = |row: &Row| f64::from(row.tokens);
        let desirable = rows.iter().filter(|row| row.label == Label::Desirable);
        Normalizer {
            units: (rows.len() / loss.rows_per_unit()) as f64,
            tokens: rows.iter().map(tokens).sum(),
            desirable_tokens: desirable.map(tokens).sum(),
        }
    }
}

/// A loss on some rows.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Evaluation {
    /// Sum of the values over the normaliser: these rows' share of the step's loss.
    pub loss: f64,
    /// dL/dlogp per row, normalised. A completion's every token receives its row's. Empty for a loss whose tokens differ.
    pub dlogps: Vec<f64>,
    /// dL/dlogp per token, normalised, row after row, for a loss with [`Loss::per_token`]; empty for the others.
    pub token_dlogps: Vec<f64>,
    /// The implicit reward per row, β·r in nats unless the loss defines another; 0 where it has none.
    pub rewards: Vec<f64>,
    /// Where each row stands, at a tolerance of 0.01; the two rows of a pair share theirs.
    pub zones: Vec<Zone>,
    /// The loss per unit (row or pair), before normalisation and with its weight.
    pub values: Vec<f64>,
    /// Units whose value is not the paper's curve (a chord, a capped exponent); of losses over tokens, the tokens whose ratio is
    /// where the gradient is cut off.
    pub clipped: usize,
    /// Whether the loss is one of tokens, so that `clipped` counts tokens.
    pub per_token: bool,
    /// Under humanline: tokens whose log-ratio is strictly within its range.
    pub inside: Option<usize>,
}

/// Evaluates a loss and its gradient on rows, whose reference points an estimator has set (0 where the loss has none). No rows
/// give zero.
///
/// # Errors
/// Rows that the loss cannot read (a log-probability that is not finite, a pair not in the order chosen, rejected,
/// an empty completion where lengths count, columns of tokens that are missing or of another length), each named; a normaliser
/// that is no number; a result that overflows.
pub fn evaluate<'a>(
    loss: &Loss,
    batch: impl Into<Batch<'a>>,
    norm: &Normalizer,
) -> Result<Evaluation, Error> {
    let batch = batch.into();
    check(loss, &batch)?;
    let parts = loss.parts();
    if let ([part], false) = (parts, loss.is_sum()) {
        return Ok(term(loss, part, &batch, norm)?.0);
    }
    let (mut sum, mut zones) = (None::<Evaluation>, Vec::new());
    for part in parts {
        let (mut one, divisor) = term(loss, part, &batch, norm)?;
        one.scale(part.weight);
        let rows_per_value = part.built.kernel.rows_per_unit();
        let values = loss.rows_per_unit() / rows_per_value;
        one.values = per_unit(&one.values, values, norm.units, divisor);
        if loss.per_token() && one.token_dlogps.is_empty() {
            one.token_dlogps = spread(batch.rows, &one.dlogps);
        }
        if core::ptr::eq(part, loss.judge()) {
            zones = core::mem::take(&mut one.zones);
        }
        sum = Some(match sum {
            None => one,
            Some(all) => all.plus(&one),
        });
    }
    let mut sum = sum.unwrap_or_default();
    sum.zones = zones;
    if loss.per_token() {
        sum.dlogps.clear();
    }
    Ok(sum)
}

/// One loss on the rows that it reads of a batch, and what its sum was divided by.
fn term(
    loss: &Loss,
    part: &Part,
    batch: &Batch,
    norm: &Normalizer,
) -> Result<(Evaluation, f64), Error> {
    // beside losses that judge; a sum of likelihoods reads all rows
    let imitates = part.spec.shape == DataShape::Any && loss.data_shape() != DataShape::Any;
    let (name, divisor) = match part.built.denominator {
        Denominator::Tokens if imitates => ("desirable_tokens", norm.desirable_tokens),
        denominator => denominator.of(norm),
    };
    // A step may hold no desirable row to imitate.
    let nothing = batch.rows.is_empty() || (imitates && divisor == 0.0);
    if !nothing {
        countable(name, divisor)?;
    }
    let old = part.built.needs.contains(&Need::OldLogps);
    let prepared = part.built.tokens.prepare(batch, old);
    let mut result = match &part.built.kernel {
        Kernel::Row(formula) => reduce(part, formula.as_ref(), &prepared, imitates)?,
        Kernel::Pair(formula) => reduce(part, formula.as_ref(), &prepared, false)?,
        Kernel::Token(formula) => over_tokens(formula.as_ref(), &prepared, batch)?,
    };
    result.inside = prepared.inside;
    result.loss = match batch.rows.is_empty() || divisor == 0.0 {
        true => 0.0,
        false => result.values.iter().sum::<f64>() / divisor,
    };
    for slope in result.dlogps.iter_mut().chain(&mut result.token_dlogps) {
        *slope = if *slope == 0.0 { 0.0 } else { *slope / divisor };
    }
    // a loss of tokens has seen the slopes itself
    if part.built.tokens.per_token() && !result.per_token {
        result.token_dlogps = spread(batch.rows, &result.dlogps);
        result.dlogps.clear();
        multiply(&mut result.token_dlogps, &prepared.slopes);
    }
    Ok((result, divisor))
}

/// Units of rows: values and slopes before normalisation.
fn reduce<const N: usize>(
    part: &Part,
    formula: &dyn Formula<N>,
    prepared: &Prepared,
    desirable_only: bool,
) -> Result<Evaluation, Error> {
    let count = prepared.rows.len();
    let mut result = Evaluation {
        dlogps: vec![0.0; count],
        rewards: vec![0.0; count],
        zones: vec![Zone::Active; count],
        values: vec![0.0; count / N],
        ..Evaluation::default()
    };
    for (indices, unit) in units::<N>(&part.built, &prepared.rows) {
        let first = indices[0];
        if desirable_only && unit[0].label == Label::Undesirable {
            continue;
        }
        let value = weighted(formula, &unit, prepared.rows[first].weight);
        finite(first, value.value, &value.gradient)?;
        result.values[first / N] = value.value;
        let zone = part.bounds.zone(scaled(formula, &unit));
        for (&index, slope) in indices.iter().zip(value.gradient) {
            result.dlogps[index] = slope;
            result.zones[index] = zone;
            // coupled units carry another row's reference: the reward is the row's own, at the unit's beta
            let own = Sequence {
                beta_scale: unit[0].beta_scale,
                ..Sequence::new(&prepared.rows[index], 0)
            };
            result.rewards[index] = formula.reward(&own);
        }
        result.clipped += usize::from(formula.clipped(&unit));
    }
    Ok(result)
}

/// The value of a unit with the weight of its row.
#[inline]
pub(crate) fn weighted<const N: usize>(
    formula: &dyn Formula<N>,
    unit: &[Sequence<N>; N],
    weight: f64,
) -> Dual<N> {
    let value = formula.value(unit);
    match weight == 1.0 {
        true => value,
        false => weight * value,
    }
}

/// # Errors
/// A divisor that is no count.
pub(crate) fn countable(name: &str, divisor: f64) -> Result<(), Error> {
    match divisor > 0.0 && divisor.is_finite() {
        true => Ok(()),
        false => Err(Error::data(
            name,
            format!("normaliser: {name} = {divisor} is not a positive count"),
        )),
    }
}

impl Denominator {
    /// The count that it stands for, with its name.
    pub(crate) fn of(self, norm: &Normalizer) -> (&'static str, f64) {
        match self {
            Denominator::Units => ("units", norm.units),
            Denominator::Tokens => ("tokens", norm.tokens),
        }
    }
}

/// Tokens of rows: values per row and slopes per token, before normalisation.
fn over_tokens(
    formula: &dyn TokenFormula,
    prepared: &Prepared,
    batch: &Batch,
) -> Result<Evaluation, Error> {
    let tokens = batch.tokens;
    let perceived = |t: usize, logp: Dual<1>| match prepared.logps.get(t) {
        Some(value) => logp.chain(*value, prepared.slopes[t]),
        None => logp,
    };
    let mut result = Evaluation {
        rewards: vec![0.0; batch.rows.len()],
        zones: vec![Zone::Active; batch.rows.len()],
        token_dlogps: Vec::with_capacity(tokens.logps.len()),
        per_token: true,
        ..Evaluation::default()
    };
    let mut at = 0;
    for (index, row) in batch.rows.iter().enumerate() {
        let scale = row.weight * formula.scale(row);
        let mut sum = 0.0;
        for t in at..at + row.tokens as usize {
            let logp = Dual::variable(tokens.logps[t], 0);
            let token = Token {
                logp,
                perceived: perceived(t, logp),
                ref_logp: tokens.ref_logps.get(t).copied().unwrap_or_default(),
                old_logp: tokens.old_logps.get(t).copied().unwrap_or_default(),
                advantage: row.advantage,
            };
            let value = scale * formula.value(&token);
            sum += value.value;
            result.token_dlogps.push(value.gradient[0]);
            result.clipped += usize::from(formula.clipped(&token));
        }
        finite(index, sum, &result.token_dlogps[at..])?;
        result.values.push(sum);
        at += row.tokens as usize;
    }
    Ok(result)
}

/// The values of a term as values of the sum's units, scaled so that their sum over the units is the term's loss: a likelihood
/// beside pairs has a value per row, and may be divided by tokens.
fn per_unit(values: &[f64], of_a_unit: usize, units: f64, divisor: f64) -> Vec<f64> {
    let share = match divisor > 0.0 {
        true => units / divisor,
        false => 0.0,
    };
    let scaled = |values: &[f64]| share * values.iter().sum::<f64>();
    values.chunks(of_a_unit.max(1)).map(scaled).collect()
}

#[inline]
pub(crate) fn finite(row: usize, value: f64, slopes: &[f64]) -> Result<(), Error> {
    match value.is_finite() && slopes.iter().all(|slope| slope.is_finite()) {
        true => Ok(()),
        false => Err(Error::nonfinite(
            "logp",
            row,
            "the loss overflows: log-probabilities are too large to be real",
        )),
    }
}

/// Each token receives its row's.
fn spread(rows: &[Row], dlogps: &[f64]) -> Vec<f64> {
    let of = |(row, slope): (&Row, &f64)| vec![*slope; row.tokens as usize];
    rows.iter().zip(dlogps).flat_map(of).collect()
}

fn multiply(slopes: &mut [f64], factors: &[f64]) {
    slopes
        .iter_mut()
        .zip(factors)
        .for_each(|(slope, factor)| *slope *= factor);
}

impl Evaluation {
    fn scale(&mut self, weight: f64) {
        self.loss *= weight;
        let slopes = self.dlogps.iter_mut().chain(&mut self.token_dlogps);
        slopes.chain(&mut self.values).for_each(|x| *x *= weight);
    }

    /// The sum of two terms on the same rows; rewards are those of the first term that has any.
    fn plus(mut self, other: &Evaluation) -> Evaluation {
        let add = |a: &mut [f64], b: &[f64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        self.loss += other.loss;
        add(&mut self.dlogps, &other.dlogps);
        add(&mut self.token_dlogps, &other.token_dlogps);
        add(&mut self.values, &other.values);
        if self.rewards.iter().all(|reward| *reward == 0.0) {
            self.rewards.clone_from(&other.rewards);
        }
        self.clipped += other.clipped;
        self.per_token |= other.per_token;
        self.inside = self.inside.or(other.inside);
        self
    }
}
