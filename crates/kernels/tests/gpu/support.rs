//! What the tests share: numbers, rounding, comparison.

use halo_kernels::gpu::{Dtype, Gpu, Slice};

/// Both forms of every kernel.
pub(crate) const DTYPES: [Dtype; 2] = [Dtype::F32, Dtype::Bf16];

pub(crate) fn gpu() -> Gpu {
    Gpu::emulated().unwrap()
}

/// Reproducible numbers in about ±1.
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f32> {
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
pub(crate) fn stored(gpu: &Gpu, values: &[f32], dtype: Dtype) -> (Slice, Vec<f32>) {
    let slice = gpu.upload_as(values, dtype).unwrap();
    let rounded = slice.download().unwrap();
    (slice, rounded)
}

/// Uninitialised memory: NaN in every element, on the emulated GPU.
pub(crate) fn poisoned(gpu: &Gpu, dtype: Dtype, len: usize) -> Slice {
    gpu.alloc(dtype, len).unwrap()
}

/// Every element within `tolerance` of the largest expected one; bf16 results may be one rounding (2⁻⁸) of themselves off.
#[track_caller]
pub(crate) fn close(found: &Slice, expected: &[f32], tolerance: f32) {
    let values = found.download().unwrap();
    assert_eq!(values.len(), expected.len());
    let scale = expected.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    for (at, (x, y)) in values.iter().zip(expected).enumerate() {
        let rounding = match found.dtype() {
            Dtype::Bf16 => y.abs() / 256.0 + scale / 4096.0,
            _ => 0.0,
        };
        assert!(
            (x - y).abs() <= tolerance * scale + rounding,
            "element {at}: {x}, expected {y} (scale {scale})"
        );
    }
}

/// Reproducible indices below `limit`.
pub(crate) fn indices(len: usize, limit: usize, seed: u64) -> Vec<u32> {
    let index = |x: f32| (((x + 1.0) / 2.0 * limit as f32) as usize).min(limit - 1) as u32;
    numbers(len, seed).into_iter().map(index).collect()
}

pub(crate) fn bits(slice: &Slice) -> Vec<u32> {
    let values = slice.download().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}
