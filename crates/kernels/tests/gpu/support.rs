//! What the tests share.

use halo_kernels::gpu::{Dtype, Gpu, Slice};

pub(crate) fn gpu() -> Gpu {
    Gpu::emulated().unwrap()
}

/// Uninitialised memory: NaN in every element, on the emulated GPU.
pub(crate) fn poisoned(gpu: &Gpu, dtype: Dtype, len: usize) -> Slice {
    gpu.alloc(dtype, len).unwrap()
}

pub(crate) fn bits(slice: &Slice) -> Vec<u32> {
    let values = slice.download().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}
