//! Ops on a device, held to the CPU's: values and gradients over many shapes, outputs poisoned before, runs repeated.
//!
//! The tests run these on the emulated GPU, `halo selftest` on a real one.

mod matmul;
mod rms_norm;

use super::{Dtype, Gpu, Slice};
use crate::Error;

/// One op's check.
pub struct Check {
    /// Which op, and which form.
    pub name: &'static str,
    /// The largest deviation that passes, beyond the rounding of `bf16` results, relative to the largest expected number.
    pub allowed: f64,
    /// The largest deviation that it found.
    pub run: fn(&Gpu) -> Result<f64, Error>,
}

/// All of them.
pub const ALL: &[Check] = &[
    Check {
        name: "rms_norm forward",
        allowed: 1e-5,
        run: rms_norm::forward,
    },
    Check {
        name: "rms_norm forward of a sum",
        allowed: 1e-5,
        run: rms_norm::forward_added,
    },
    Check {
        name: "rms_norm backward",
        allowed: 1e-5,
        run: rms_norm::backward,
    },
    Check {
        name: "matmul: a linear layer's three products",
        allowed: 1e-5,
        run: matmul::linear,
    },
];

/// Both forms of every kernel.
pub const DTYPES: [Dtype; 2] = [Dtype::F32, Dtype::Bf16];

/// Reproducible numbers in about ±1.
pub fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The numbers as the device stores them, and what is stored: the CPU's op is given the same rounded input.
///
/// # Errors
/// Those of the device.
pub fn stored(gpu: &Gpu, values: &[f32], dtype: Dtype) -> Result<(Slice, Vec<f32>), Error> {
    let slice = gpu.upload_as(values, dtype)?;
    let rounded = slice.download()?;
    Ok((slice, rounded))
}

/// Memory that holds NaN: what an op does not write is found.
fn poisoned(gpu: &Gpu, dtype: Dtype, len: usize) -> Result<Slice, Error> {
    gpu.upload_as(&vec![f32::NAN; len], dtype)
}

/// The largest of the numbers, to which deviations are relative.
pub fn scale(expected: &[f32]) -> f32 {
    expected.iter().fold(1e-6, |m, x| m.max(x.abs()))
}

/// What rounding may move an expected number: a `bf16` result one rounding (2⁻⁸ of itself).
pub fn rounding(dtype: Dtype, expected: f32, scale: f32) -> f32 {
    match dtype {
        Dtype::Bf16 => expected.abs() / 256.0 + scale / 4096.0,
        _ => 0.0,
    }
}

/// The largest deviation beyond rounding, relative to the largest expected number.
fn deviation(found: &Slice, expected: &[f32]) -> Result<f64, Error> {
    let found_values = found.download()?;
    if found_values.len() != expected.len() {
        return Ok(f64::INFINITY);
    }
    let scale = scale(expected);
    let mut worst = 0f64;
    for (x, y) in found_values.iter().zip(expected) {
        let rounding = rounding(found.dtype(), *y, scale);
        let off = f64::from(((x - y).abs() - rounding).max(0.0) / scale);
        // a NaN that was left or made is no number below any bound
        worst = worst.max(if (x - y).is_nan() { f64::INFINITY } else { off });
    }
    Ok(worst)
}
