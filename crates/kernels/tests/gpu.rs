//! The CUDA kernels on the emulated GPU, held to the CPU's ops: values, gradients, poisoned outputs, writes outside a buffer.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "gpu/attention.rs"]
mod attention;
#[path = "gpu/matmul.rs"]
mod matmul;
#[path = "gpu/rms_norm.rs"]
mod rms_norm;
#[path = "gpu/runtime.rs"]
mod runtime;
#[path = "gpu/support.rs"]
mod support;

/// Packs and the naive form, as the CPU's tests have them.
#[allow(dead_code, reason = "the CPU's tests use the rest")]
#[path = "ops"]
mod ops {
    pub(crate) mod layouts;
    pub(crate) mod support;
}
