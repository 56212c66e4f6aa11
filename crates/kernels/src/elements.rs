//! Numbers as a host stores them: f32, or half-width formats that are widened block by block.
//!
//! Arithmetic is f32 everywhere; a buffer of another type is never widened as a whole.

use crate::Error;
use crate::error::length;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use std::ops::Range;

pub use half::{bf16, f16};

/// Numbers that are read.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    /// 32 bits.
    F32(&'a [f32]),
    /// The upper half of an f32.
    Bf16(&'a [bf16]),
    /// IEEE's binary16.
    F16(&'a [f16]),
}

/// Numbers that are written, rounded to the nearest.
#[derive(Debug)]
pub enum ElementsMut<'a> {
    /// 32 bits.
    F32(&'a mut [f32]),
    /// The upper half of an f32.
    Bf16(&'a mut [bf16]),
    /// IEEE's binary16.
    F16(&'a mut [f16]),
}

impl<'a> Elements<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Elements::F32(x) => x.len(),
            Elements::Bf16(x) => x.len(),
            Elements::F16(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of `range`.
    pub fn range(&self, range: Range<usize>) -> Elements<'a> {
        match self {
            Elements::F32(x) => Elements::F32(&x[range]),
            Elements::Bf16(x) => Elements::Bf16(&x[range]),
            Elements::F16(x) => Elements::F16(&x[range]),
        }
    }

    /// Those of `range` as f32: the buffer's own, or a copy in `scratch`.
    pub fn widen<'b>(&self, range: Range<usize>, scratch: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Elements::F32(x) => &x[range],
            _ => {
                scratch.resize(range.len(), 0.0);
                self.copy(range, scratch);
                scratch
            }
        }
    }

    /// The first that is NaN or infinite.
    pub fn find_nonfinite(&self) -> Option<usize> {
        match self {
            Elements::F32(x) => find(x, |x| x.is_finite()),
            Elements::Bf16(x) => find(x, |x| x.is_finite()),
            Elements::F16(x) => find(x, |x| x.is_finite()),
        }
    }

    /// Those of `range` into `out`, as long.
    pub(crate) fn copy(&self, range: Range<usize>, out: &mut [f32]) {
        match self {
            Elements::F32(x) => out.copy_from_slice(&x[range]),
            Elements::Bf16(x) => {
                for (out, x) in out.iter_mut().zip(&x[range]) {
                    *out = f32::from_bits(u32::from(x.to_bits()) << 16);
                }
            }
            Elements::F16(x) => x[range].convert_to_f32_slice(out),
        }
    }
}

impl ElementsMut<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they are now.
    pub fn read(&self) -> Elements<'_> {
        match self {
            ElementsMut::F32(x) => Elements::F32(x),
            ElementsMut::Bf16(x) => Elements::Bf16(x),
            ElementsMut::F16(x) => Elements::F16(x),
        }
    }

    /// Sets those from `first` on.
    ///
    /// # Errors
    /// More values than there are places.
    pub fn write(&mut self, first: usize, values: &[f32]) -> Result<(), Error> {
        self.fits(first, values)?;
        self.put(first, values);
        Ok(())
    }

    /// The same where the places are known to be there.
    pub(crate) fn put(&mut self, first: usize, values: &[f32]) {
        let range = first..first + values.len();
        match self {
            ElementsMut::F32(x) => x[range].copy_from_slice(values),
            ElementsMut::Bf16(x) => x[range].convert_from_f32_slice(values),
            ElementsMut::F16(x) => x[range].convert_from_f32_slice(values),
        }
    }

    /// Adds to those from `first` on.
    ///
    /// # Errors
    /// More values than there are places.
    pub fn add(&mut self, first: usize, values: &[f32]) -> Result<(), Error> {
        self.fits(first, values)?;
        let range = first..first + values.len();
        match self {
            ElementsMut::F32(x) => {
                for (x, value) in x[range].iter_mut().zip(values) {
                    *x += value;
                }
            }
            ElementsMut::Bf16(x) => {
                for (x, value) in x[range].iter_mut().zip(values) {
                    *x = bf16::from_f32(x.to_f32() + value);
                }
            }
            ElementsMut::F16(x) => {
                for (x, value) in x[range].iter_mut().zip(values) {
                    *x = f16::from_f32(x.to_f32() + value);
                }
            }
        }
        Ok(())
    }

    /// Sets all to 0.
    pub fn clear(&mut self) {
        match self {
            ElementsMut::F32(x) => x.fill(0.0),
            ElementsMut::Bf16(x) => x.fill(bf16::ZERO),
            ElementsMut::F16(x) => x.fill(f16::ZERO),
        }
    }

    fn fits(&self, first: usize, values: &[f32]) -> Result<(), Error> {
        let last = first.saturating_add(values.len());
        length("elements", "values", last.max(self.len()), self.len())
    }
}

impl<'a> ElementsMut<'a> {
    /// Cut into consecutive pieces of the given lengths.
    pub(crate) fn pieces(self, lengths: impl Iterator<Item = usize>) -> Vec<ElementsMut<'a>> {
        match self {
            ElementsMut::F32(x) => cut(x, lengths).map(ElementsMut::F32).collect(),
            ElementsMut::Bf16(x) => cut(x, lengths).map(ElementsMut::Bf16).collect(),
            ElementsMut::F16(x) => cut(x, lengths).map(ElementsMut::F16).collect(),
        }
    }

    /// The places of 32 bits.
    pub(crate) fn f32(self) -> Option<&'a mut [f32]> {
        match self {
            ElementsMut::F32(x) => Some(x),
            _ => None,
        }
    }

    /// The same places, for a shorter time.
    pub fn again(&mut self) -> ElementsMut<'_> {
        match self {
            ElementsMut::F32(x) => ElementsMut::F32(x),
            ElementsMut::Bf16(x) => ElementsMut::Bf16(x),
            ElementsMut::F16(x) => ElementsMut::F16(x),
        }
    }
}

/// The first that is not `fine`. Blocks without branches vectorise; only the one at fault is looked through.
fn find<T: Sync>(x: &[T], fine: impl Fn(&T) -> bool + Sync) -> Option<usize> {
    const BLOCK: usize = 1 << 14;
    let block = x
        .par_chunks(BLOCK)
        .position_first(|x| !x.iter().fold(true, |all, x| all & fine(x)))?;
    let at = x[block * BLOCK..].iter().position(|x| !fine(x))?;
    Some(block * BLOCK + at)
}

fn cut<T>(
    mut rest: &mut [T],
    lengths: impl Iterator<Item = usize>,
) -> impl Iterator<Item = &mut [T]> {
    lengths.map(move |length| {
        let (piece, after) = std::mem::take(&mut rest).split_at_mut(length);
        rest = after;
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_widths_widen_exactly_and_round_to_the_nearest() {
        let bf: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let fp: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let mut scratch = Vec::new();
        let same = |a: f32, b: f32| a == b || a.is_nan() && b.is_nan();
        let wide = Elements::Bf16(&bf).widen(0..bf.len(), &mut scratch);
        assert!(wide.iter().zip(&bf).all(|(x, b)| same(*x, b.to_f32())));
        let wide = Elements::F16(&fp).widen(0..fp.len(), &mut scratch);
        assert!(wide.iter().zip(&fp).all(|(x, b)| same(*x, b.to_f32())));

        // 1 + 2^-8 lies between two bf16 numbers, the tie goes to the even one; 1 + 3·2^-9 is nearer to the next.
        let mut out = [bf16::ONE; 3];
        let mut places = ElementsMut::Bf16(&mut out);
        places.write(1, &[1.003_906_3, 1.005_859_4]).unwrap();
        places.add(0, &[0.5]).unwrap();
        assert_eq!(out.map(bf16::to_f32), [1.5, 1.0, 1.007_812_5]);
    }

    #[test]
    fn the_first_number_that_is_none_is_found() {
        let mut x = vec![1.0; 40_000];
        assert_eq!(Elements::F32(&x).find_nonfinite(), None);
        (x[33_333], x[39_999]) = (f32::NEG_INFINITY, f32::NAN);
        assert_eq!(Elements::F32(&x).find_nonfinite(), Some(33_333));
        let halves = [f16::MAX, f16::MIN, f16::NAN];
        assert_eq!(Elements::F16(&halves).find_nonfinite(), Some(2));
    }

    #[test]
    fn values_beyond_the_places_are_refused() {
        let mut out = [0.0; 2];
        let error = ElementsMut::F32(&mut out).write(1, &[1.0, 2.0]);
        assert!(error.unwrap_err().is_length());
        assert_eq!(out, [0.0; 2]);
    }
}
