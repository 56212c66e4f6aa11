//! What an op wrote: close to what is expected, nothing beside it, the same bits from run to run.

use std::ops::Deref;

use crate::Error;
use crate::gpu::{Dtype, Gpu, Slice};

/// Runs whose bits are compared: threads that race would give others now and then. Where they always run in the same order, a second
/// run shows what blocks do to each other, and a third nothing new.
pub(super) fn runs(gpu: &Gpu) -> usize {
    if gpu.driver().varies() { 5 } else { 2 }
}

/// Elements before and after an output; enough to keep the alignment that the tensor cores' forms ask for.
const MARGIN: usize = 64;

/// What stands there: in-place ops change it, whereas NaN would stay NaN.
const KEPT: f32 = 7.0;

/// An op's destination, between margins that the op must leave alone.
pub(super) struct Output {
    whole: Slice,
    within: Slice,
}

impl Output {
    /// Holds NaN: what an op does not write is found.
    pub(super) fn poisoned(gpu: &Gpu, dtype: Dtype, len: usize) -> Result<Output, Error> {
        Output::holding(gpu, dtype, &vec![f32::NAN; len])
    }

    /// Holds numbers to which an op adds, or which it changes.
    pub(super) fn holding(gpu: &Gpu, dtype: Dtype, values: &[f32]) -> Result<Output, Error> {
        let margin = [KEPT; MARGIN];
        let whole = gpu.upload_as(&[&margin, values, &margin].concat(), dtype)?;
        let within = whole.narrow(MARGIN, values.len())?;
        Ok(Output { whole, within })
    }
}

impl Deref for Output {
    type Target = Slice;

    fn deref(&self) -> &Slice {
        &self.within
    }
}

/// What an output should hold; elements beyond `values` should still be poisoned.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    values: &'a [f32],
    /// What deviations are relative to, if no value is larger; none if every bit counts.
    floor: Option<f32>,
}

/// Within the allowed part of the largest value.
pub(super) fn close(values: &[f32]) -> Expected<'_> {
    close_above(1e-6, values)
}

/// Within the allowed part of the largest value or of `floor`: where terms of that size cancel, their rounding stays.
pub(super) fn close_above(floor: f32, values: &[f32]) -> Expected<'_> {
    Expected {
        values,
        floor: Some(floor),
    }
}

/// Bit for bit.
pub(super) fn exact(values: &[f32]) -> Expected<'_> {
    Expected {
        values,
        floor: None,
    }
}

/// The worst of a check over dtypes and shapes.
pub(super) fn worst<S: Copy>(
    dtypes: &[Dtype],
    shapes: &[S],
    mut check: impl FnMut(Dtype, S) -> Result<f64, Error>,
) -> Result<f64, Error> {
    let mut worst = 0f64;
    for &dtype in dtypes {
        for &shape in shapes {
            worst = worst.max(check(dtype, shape)?);
        }
    }
    Ok(worst)
}

/// The largest deviation of what `run` writes into fresh outputs; infinity if one of several runs gives other bits.
pub(super) fn compare<const N: usize>(
    gpu: &Gpu,
    run: impl Fn() -> Result<[Output; N], Error>,
    expected: [Expected<'_>; N],
) -> Result<f64, Error> {
    Ok(compare_and_keep(gpu, run, expected)?.0)
}

/// As [`compare`], and the outputs of the first run, for what they must be to each other.
pub(super) fn compare_and_keep<const N: usize>(
    gpu: &Gpu,
    run: impl Fn() -> Result<[Output; N], Error>,
    expected: [Expected<'_>; N],
) -> Result<(f64, [Output; N]), Error> {
    let first = run()?;
    let mut worst = 0f64;
    for (found, expected) in first.iter().zip(expected) {
        worst = worst.max(deviation(found, expected)?);
    }
    for _ in 1..runs(gpu) {
        for (found, first) in run()?.iter().zip(&first) {
            if found.whole.get()? != first.whole.get()? {
                worst = f64::INFINITY;
            }
        }
    }
    Ok((worst, first))
}

/// The largest deviation of one output beyond rounding, relative to the largest expected number; infinity for NaN, for an expected
/// number that is not finite, and for a write outside.
pub(super) fn deviation(found: &Output, expected: Expected<'_>) -> Result<f64, Error> {
    Ok(judge(found.dtype(), &found.whole.download()?, expected))
}

/// As [`deviation`], of an output with its margins.
fn judge(dtype: Dtype, whole: &[f32], expected: Expected<'_>) -> f64 {
    let (before, rest) = whole.split_at(MARGIN);
    let (within, after) = rest.split_at(rest.len() - MARGIN);
    let Some((written, beyond)) = within.split_at_checked(expected.values.len()) else {
        return f64::INFINITY;
    };
    let untouched = before.iter().chain(after).all(|x| *x == KEPT);
    if !untouched || !beyond.iter().all(|x| x.is_nan()) {
        return f64::INFINITY;
    }
    match expected.floor {
        Some(floor) => relative(dtype, written, expected.values, floor),
        None => match same(written, expected.values) {
            true => 0.0,
            false => f64::INFINITY,
        },
    }
}

fn relative(dtype: Dtype, found: &[f32], expected: &[f32], floor: f32) -> f64 {
    let scale = expected.iter().fold(floor, |m, x| m.max(x.abs()));
    // Relative to infinity everything is close.
    if !scale.is_finite() {
        return f64::INFINITY;
    }
    let mut worst = 0f64;
    for (x, y) in found.iter().zip(expected) {
        let off = (x - y).abs();
        // A NaN that was left or made is no number below any bound.
        if off.is_nan() {
            return f64::INFINITY;
        }
        let beyond = (off - rounding(dtype, *y, scale)).max(0.0);
        worst = worst.max(f64::from(beyond / scale));
    }
    worst
}

/// What rounding may move an expected number: a `bf16` result one rounding (2⁻⁸ of itself).
fn rounding(dtype: Dtype, expected: f32, scale: f32) -> f32 {
    match dtype {
        Dtype::Bf16 => expected.abs() / 256.0 + scale / 4096.0,
        _ => 0.0,
    }
}

fn same(found: &[f32], expected: &[f32]) -> bool {
    let mut pairs = found.iter().zip(expected);
    pairs.all(|(x, y)| x.to_bits() == y.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(dtype: Dtype, found: &[f32], expected: Expected<'_>) -> f64 {
        let margin = [KEPT; MARGIN];
        judge(dtype, &[&margin, found, &margin].concat(), expected)
    }

    #[test]
    fn a_deviation_is_relative_to_the_largest_number_and_beyond_rounding() {
        let expected = [4.0, 1.0];
        assert_eq!(judged(Dtype::F32, &expected, close(&expected)), 0.0);
        assert_eq!(judged(Dtype::F32, &[4.0, 1.5], close(&expected)), 0.125);
        let floor = close_above(8.0, &expected);
        assert_eq!(judged(Dtype::F32, &[4.0, 1.5], floor), 0.0625);
        assert_eq!(
            judged(Dtype::Bf16, &[4.015_625, 1.0], close(&expected)),
            0.0
        );
        assert!(judged(Dtype::Bf16, &[4.25, 1.0], close(&expected)) > 0.05);
    }

    #[test]
    fn what_is_no_number_or_written_outside_is_infinitely_off() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for dtype in super::super::DTYPES {
            for (found, expected) in [
                ([1.0, nan], [1.0, 2.0]),
                ([1.0, 2.0], [1.0, nan]),
                ([nan, nan], [nan, nan]),
                ([1.0, inf], [1.0, 2.0]),
                ([1.0, 2.0], [1.0, inf]),
                ([1.0, inf], [1.0, inf]),
            ] {
                let off = judged(dtype, &found, close(&expected));
                assert_eq!(off, f64::INFINITY, "{found:?} {expected:?}");
            }
            let (found, expected) = ([1.0, 2.0, nan], [1.0, 2.0]);
            assert_eq!(judged(dtype, &found, close(&expected)), 0.0);
            assert_eq!(
                judged(dtype, &[1.0, 2.0, 3.0], close(&expected)),
                inf.into()
            );
            assert_eq!(judged(dtype, &[1.0], close(&expected)), inf.into());
            for at in [0, MARGIN - 1, MARGIN + 3, 2 * MARGIN + 2] {
                let margin = [KEPT; MARGIN];
                let mut whole = [&margin[..], &found, &margin].concat();
                whole[at] = 0.0;
                assert_eq!(judge(dtype, &whole, close(&expected)), inf.into(), "{at}");
            }
        }
    }

    #[test]
    fn exact_means_every_bit() {
        assert_eq!(judged(Dtype::F32, &[0.5, 0.0], exact(&[0.5, 0.0])), 0.0);
        let off = judged(Dtype::F32, &[0.5, -0.0], exact(&[0.5, 0.0]));
        assert_eq!(off, f64::INFINITY);
    }
}
