//! The softmax of a row that is seen block by block, forward and back.

use super::BLOCK;
use crate::exp::exp;
use crate::shaping::Shaping;
use crate::simd::{Kernel, LANES, fold, max, softmax_sum};

/// One tile of the online softmax: logits become exp(z − max), and what was accumulated is brought to the new maximum.
pub(super) struct Softmax<'a> {
    pub(super) tile: &'a mut [f32], // (rows, n)
    pub(super) n: usize,
    pub(super) max: &'a mut [f32],
    pub(super) sum: &'a mut [f64],
    pub(super) moment: &'a mut [f64], // Σ exp(z − max)·(z − max); empty if no entropy is asked for
    pub(super) acc: &'a mut [f32],    // (rows, d); d = 0 without gradient
    pub(super) d: usize,
    /// For the gradient the tile becomes exp(z − max)·dz/dx.
    pub(super) slope: Option<&'a Shaping>,
}

impl Kernel for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let mut slopes = [0.0; BLOCK];
        for (row, z) in self.tile.chunks_exact_mut(self.n).enumerate() {
            let old = self.max[row];
            let new = old.max(max(z));
            // A block of words that are all masked out has no maximum to subtract.
            if new == f32::NEG_INFINITY && z.iter().all(|z| *z == f32::NEG_INFINITY) {
                z.fill(0.0);
                continue;
            }
            if let Some(shaping) = self.slope {
                for (slope, z) in slopes.iter_mut().zip(&*z) {
                    *slope = shaping.slope(*z);
                }
            }
            let (sum, moment) = match self.moment.is_empty() {
                true => (softmax_sum::<FMA>(z, new), 0.0),
                false => softmax_moment::<FMA>(z, new),
            };
            if new > old {
                let factor = exp::<FMA>(old - new);
                self.max[row] = new;
                if let Some(moment) = self.moment.get_mut(row).filter(|_| self.sum[row] > 0.0) {
                    let shifted = *moment + self.sum[row] * f64::from(old - new);
                    *moment = shifted * f64::from(factor);
                }
                self.sum[row] *= f64::from(factor);
                for x in &mut self.acc[row * self.d..(row + 1) * self.d] {
                    *x *= factor;
                }
            }
            self.sum[row] += f64::from(sum);
            if let Some(total) = self.moment.get_mut(row) {
                *total += f64::from(moment);
            }
            if self.slope.is_some() {
                for (z, slope) in z.iter_mut().zip(&slopes) {
                    *z *= slope;
                }
            }
        }
    }
}

/// x ← exp(x − max), Σ of the results and Σ of the results times x − max, in a fixed order.
#[inline(always)]
fn softmax_moment<const FMA: bool>(x: &mut [f32], max: f32) -> (f32, f32) {
    let (mut sums, mut moments) = ([0.0f32; LANES], [0.0f32; LANES]);
    for x in x.chunks_mut(LANES) {
        for ((x, sum), moment) in x.iter_mut().zip(&mut sums).zip(&mut moments) {
            let z = *x - max;
            *x = exp::<FMA>(z);
            *sum += *x;
            // A word of probability 0 adds nothing, also where z is −∞.
            *moment += if *x == 0.0 { 0.0 } else { *x * z };
        }
    }
    (fold(sums, |a, b| a + b), fold(moments, |a, b| a + b))
}

/// The log-sum-exp and the entropy of a row from (max, sum, moment) of its parts.
pub(super) fn merge(parts: impl Iterator<Item = (f32, f64, f64)> + Clone) -> (f64, f64) {
    let max = parts
        .clone()
        .fold(f32::NEG_INFINITY, |max, part| max.max(part.0));
    let (mut sum, mut moment) = (0.0, 0.0);
    for part in parts.filter(|part| part.1 != 0.0) {
        let shift = f64::from(part.0 - max);
        sum += part.1 * shift.exp();
        moment += (part.2 + part.1 * shift) * shift.exp();
    }
    (f64::from(max) + sum.ln(), sum.ln() - moment / sum)
}

/// What a row's logits are told on the way back.
#[derive(Clone, Copy)]
pub(super) struct Seed {
    pub(super) lse: f32,
    /// Σ of the entries' dlogp.
    pub(super) dlogp: f32,
    pub(super) entropy: f32,
    pub(super) dentropy: f32,
}

impl Seed {
    /// z becomes what the softmax says of dz: −p·(dlogp + dentropy·(ln p + entropy)); the targets' dlogp is to be added.
    #[inline(always)]
    pub(super) fn spread<const FMA: bool>(&self, z: &mut [f32]) {
        if self.dentropy == 0.0 {
            for z in z.iter_mut() {
                *z = -self.dlogp * exp::<FMA>(*z - self.lse);
            }
            return;
        }
        for z in z.iter_mut() {
            let log = *z - self.lse;
            let p = exp::<FMA>(log);
            let pull = self.dlogp + self.dentropy * (log + self.entropy);
            *z = if p == 0.0 { 0.0 } else { -p * pull };
        }
    }
}
