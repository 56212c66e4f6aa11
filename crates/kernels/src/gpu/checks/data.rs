//! Reproducible inputs, rounded as the device stores them.

use half::bf16;

use crate::Error;
use crate::gpu::{Dtype, Gpu, Slice};

/// Both forms of every kernel.
pub const DTYPES: [Dtype; 2] = [Dtype::F32, Dtype::Bf16];

/// Reproducible numbers in about ±1.
pub fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut draw = draws(seed);
    let unit = 1.0 / (1u64 << 23) as f32;
    (0..len).map(|_| draw() as f32 * unit - 1.0).collect()
}

/// Reproducible indices below `limit`.
pub fn indices(len: usize, limit: usize, seed: u64) -> Vec<u32> {
    let mut below = choices(seed);
    (0..len).map(|_| below(limit) as u32).collect()
}

/// Reproducible choices: each call gives a number below its argument.
pub(super) fn choices(seed: u64) -> impl FnMut(usize) -> usize {
    let mut draw = draws(seed);
    move |limit| ((u64::from(draw()) * limit as u64) >> 24) as usize
}

/// The numbers as the device stores them, and what is stored: the CPU's op is given the same rounded input.
///
/// # Errors
/// Those of the device.
pub(super) fn stored(gpu: &Gpu, values: &[f32], dtype: Dtype) -> Result<(Slice, Vec<f32>), Error> {
    Ok((gpu.upload_as(values, dtype)?, rounded(values, dtype)))
}

/// The numbers rounded to nearest even.
pub(super) fn rounded(values: &[f32], dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::Bf16 => values.iter().map(|x| bf16::from_f32(*x).to_f32()).collect(),
        _ => values.to_vec(),
    }
}

/// 24 random bits a call (xorshift).
fn draws(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as u32
    }
}
