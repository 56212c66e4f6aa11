//! What the tests share: numbers, rounding, comparison.

use halo_kernels::gpu::checks::{self, rounding};
use halo_kernels::gpu::{Dtype, Gpu, Slice};

pub(crate) use halo_kernels::gpu::checks::{DTYPES, numbers};

pub(crate) fn gpu() -> Gpu {
    Gpu::emulated().unwrap()
}

/// As the checks' own, which may fail.
pub(crate) fn stored(gpu: &Gpu, values: &[f32], dtype: Dtype) -> (Slice, Vec<f32>) {
    checks::stored(gpu, values, dtype).unwrap()
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
    let scale = checks::scale(expected);
    for (at, (x, y)) in values.iter().zip(expected).enumerate() {
        let rounding = rounding(found.dtype(), *y, scale);
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
