//! The CUDA kernels on the emulated GPU, held to the CPU's ops: values, gradients, poisoned outputs, writes outside a buffer.

#[path = "gpu/matmul.rs"]
mod matmul;
#[path = "gpu/rms_norm.rs"]
mod rms_norm;
#[path = "gpu/runtime.rs"]
mod runtime;
#[path = "gpu/support.rs"]
mod support;
