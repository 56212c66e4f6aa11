//! AdamW with moments of one byte each: block-wise dynamic quantisation (Dettmers et al. 2021, arXiv 2110.02861, sections 2.1
//! and 3).
//!
//! A block of 256 numbers shares one scale, its largest magnitude; a byte names one of 256 values in −1..1 that lie densely
//! near 1 and reach down to 10⁻⁶. Parameters move by the moments of this step *before* they are rounded.
//!
//! Two departures from the paper, both for the second moment. It is rounded up or down at random, with the odds that keep its
//! mean: one step moves it by a thousandth (β₂ = 0.999), the values lie a hundredth apart, and rounding to the nearest would
//! hold it still. The chance comes from the element and the step alone, so a run repeats bit for bit. And it is never rounded to
//! zero, which would leave the first moment divided by eps.

use super::{AdamW, Update};
use crate::Error;
use crate::error::length;
use rayon::prelude::*;

/// Numbers that share a scale.
pub const BLOCK: usize = 256;

/// Blocks of one task.
const BLOCKS: usize = 64;

/// Scales of `n` moments.
pub fn blocks(n: usize) -> usize {
    n.div_ceil(BLOCK)
}

/// The values that a byte of the first moment (`signed`) or of the second names, ascending.
///
/// Decade i of 7, from 10⁻⁶..10⁻⁵ to 0.1..1, holds 2ⁱ evenly spaced magnitudes (2ⁱ⁺¹ without a sign); 0 and 1 besides.
pub fn map(signed: bool) -> [f32; 256] {
    let mut values = [0f32; 256];
    // Position 0 stays 0.
    values[1] = 1.0;
    let mut at = 2;
    for i in 0..7 {
        let count = if signed { 1 << i } else { 2 << i };
        for k in 0..count {
            let middle = 0.1 + 0.9 * (f64::from(k) + 0.5) / f64::from(count);
            let value = (10f64.powi(i - 6) * middle) as f32;
            values[at] = value;
            at += 1;
            if signed {
                values[at] = -value;
                at += 1;
            }
        }
    }
    values.sort_by(f32::total_cmp);
    values
}

/// The codes of zero moments with scales of zero.
pub fn zeros(n: usize) -> (Vec<u8>, Vec<u8>) {
    let zero = |signed| encode(&map(signed), 0.0, 0.5) as u8;
    (vec![zero(true); n], vec![zero(false); n])
}

/// [`super::step`] with moments as codes `m`, `v` (n) and scales `m_max`, `v_max` ([`blocks`] of n); start from [`zeros`].
///
/// # Errors
/// Slices of other lengths; t = 0.
pub fn step(
    params: &mut [f32],
    grads: &[f32],
    m: &mut [u8],
    v: &mut [u8],
    m_max: &mut [f32],
    v_max: &mut [f32],
    t: u64,
    cfg: &AdamW,
    decay: bool,
    grad_scale: f32,
) -> Result<(), Error> {
    let op = "optim::eight_bit::step";
    length(op, "grads", grads.len(), params.len())?;
    length(op, "m", m.len(), params.len())?;
    length(op, "v", v.len(), params.len())?;
    length(op, "m_max", m_max.len(), blocks(params.len()))?;
    length(op, "v_max", v_max.len(), blocks(params.len()))?;
    let update = Update::new(op, t, cfg, decay, grad_scale)?;
    let maps = (map(true), map(false));
    params
        .par_chunks_mut(BLOCK)
        .zip(grads.par_chunks(BLOCK))
        .zip(m.par_chunks_mut(BLOCK))
        .zip(v.par_chunks_mut(BLOCK))
        .zip(m_max)
        .zip(v_max)
        .enumerate()
        .with_min_len(BLOCKS)
        .for_each(|(block, (((((params, grads), m), v), m_max), v_max))| {
            let first = block * BLOCK;
            one(&update, &maps, first, t, params, grads, m, v, m_max, v_max);
        });
    Ok(())
}

/// One block, whose first number is number `first` of all.
fn one(
    update: &Update,
    (signed, unsigned): &([f32; 256], [f32; 256]),
    first: usize,
    t: u64,
    params: &mut [f32],
    grads: &[f32],
    m: &mut [u8],
    v: &mut [u8],
    m_max: &mut f32,
    v_max: &mut f32,
) {
    let (mut fresh_m, mut fresh_v) = ([0f32; BLOCK], [0f32; BLOCK]);
    for (i, p) in params.iter_mut().enumerate() {
        let old_m = signed[usize::from(m[i])] * *m_max;
        let old_v = unsigned[usize::from(v[i])] * *v_max;
        (fresh_m[i], fresh_v[i]) = update.moments(grads[i], old_m, old_v);
        *p = update.moved(*p, fresh_m[i], fresh_v[i]);
    }
    let largest = |x: &[f32]| x.iter().fold(0f32, |max, x| max.max(x.abs()));
    (*m_max, *v_max) = (largest(&fresh_m), largest(&fresh_v));
    let share = |x: f32, max: f32| if max > 0.0 { x / max } else { 0.0 };
    for i in 0..params.len() {
        m[i] = encode(signed, share(fresh_m[i], *m_max), 0.5) as u8;
        let code = encode(
            unsigned,
            share(fresh_v[i], *v_max),
            dither(first + i, t as u32),
        );
        let never_zero = usize::from(fresh_v[i] > 0.0);
        v[i] = code.max(never_zero) as u8;
    }
}

/// Of the two values around x the upper one where x lies at least `dither` of the way to it: 0.5 rounds to the nearest.
fn encode(map: &[f32; 256], x: f32, dither: f32) -> usize {
    let low = map.partition_point(|&value| value <= x).saturating_sub(1);
    match map.get(low + 1) {
        Some(high) => low + usize::from(x - map[low] >= dither * (high - map[low])),
        None => low,
    }
}

/// Uniform in (0, 1), from the element and the step: a 32-bit mixer (lowbias32 of C. Wellons' hash-prospector) over both.
fn dither(element: usize, t: u32) -> f32 {
    let element = element as u64;
    let mut x = element as u32
        ^ ((element >> 32) as u32).wrapping_mul(0x85eb_ca6b)
        ^ t.wrapping_mul(0x9e37_79b9);
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^= x >> 16;
    ((x >> 8) as f32 + 0.5) / 16_777_216.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_256_distinct_ones_from_the_paper() {
        for signed in [true, false] {
            let map = map(signed);
            assert!(map.windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!(map[255], 1.0);
            assert!(map.contains(&0.0));
        }
        assert_eq!(map(true)[128], 0.55e-6);
    }

    #[test]
    fn a_value_is_its_own_code_and_others_go_to_the_nearest() {
        for signed in [true, false] {
            let map = map(signed);
            for (code, &value) in map.iter().enumerate() {
                assert_eq!(encode(&map, value, 0.5), code);
            }
            for i in 0..2000 {
                let x = i as f32 / 1000.0 - 1.0;
                let distance = |value: f32| (value - x).abs();
                let best = map.iter().map(|&v| distance(v)).fold(2.0, f32::min);
                let got = distance(map[encode(&map, x, 0.5)]);
                assert!(got <= best + 1e-7, "{x}");
            }
        }
    }

    #[test]
    fn the_dither_is_uniform_over_elements_and_over_steps() {
        let mean = |values: Vec<f32>| {
            values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64
        };
        // 10,000 draws: a standard error of 0.003.
        let elements = mean((0..10_000).map(|i| dither(i, 7)).collect());
        let steps = mean((0..10_000).map(|t| dither(7, t)).collect());
        assert!((elements - 0.5).abs() < 0.012, "{elements}");
        assert!((steps - 0.5).abs() < 0.012, "{steps}");
    }
}
