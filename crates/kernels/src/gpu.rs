//! The ops on a GPU: the same names, arguments and meaning as on slices, over memory of the device.
//!
//! One stream, one thread at a time: an op returns before it has run, and only a download or [`Gpu::synchronize`] waits. The CUDA
//! sources stand beside the CPU ops (`rms_norm.cu` beside `rms_norm.rs`). They are compiled by nvcc for the real driver, and as
//! C++ for an emulated GPU in host memory (feature `emulator`), on which the tests run them.
//!
//! Activations, their gradients and matrices are `f32` or `bf16`; statistics, norm weights, biases, parameter gradients and the
//! optimiser are `f32`. No kernel adds floats atomically: results are the same bits from run to run.

pub mod attention;
pub mod bias;
pub mod checks;
mod columns;
#[cfg_attr(not(feature = "cuda"), path = "gpu/cuda_absent.rs")]
mod cuda;
mod driver;
pub mod elementwise;
pub mod embedding;
#[cfg_attr(not(feature = "emulator"), path = "gpu/emulated_absent.rs")]
mod emulated;
pub mod head;
mod launch;
pub mod matmul;
pub mod optim;
pub mod rms_norm;
pub mod rope;
mod slice;
pub mod swiglu;

use std::fmt;
use std::sync::Arc;

use crate::Error;
use driver::Driver;
pub use driver::Memory;
pub use slice::{Dtype, Slice};

/// One device and its stream.
#[derive(Clone)]
pub struct Gpu(Arc<dyn Driver>);

impl Gpu {
    /// An NVIDIA GPU by its ordinal.
    ///
    /// # Errors
    /// A build without feature `cuda`, no driver, no such device, or one that is too old.
    pub fn cuda(ordinal: usize) -> Result<Gpu, Error> {
        cuda::open(ordinal).map(Gpu)
    }

    /// The emulated GPU: the kernels as C++ on this processor, in host memory. For tests; thousands of times slower.
    ///
    /// # Errors
    /// A build without feature `emulator`.
    pub fn emulated() -> Result<Gpu, Error> {
        emulated::open(usize::MAX).map(Gpu)
    }

    /// The emulated GPU with so many bytes of memory.
    ///
    /// # Errors
    /// As [`Gpu::emulated`].
    pub fn emulated_with(bytes: usize) -> Result<Gpu, Error> {
        emulated::open(bytes).map(Gpu)
    }

    /// What the device calls itself.
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// Memory in use, at its highest, free and in all.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn memory(&self) -> Result<Memory, Error> {
        self.0.memory()
    }

    /// Waits until everything asked for has run.
    ///
    /// # Errors
    /// What went wrong on the device since the last wait.
    pub fn synchronize(&self) -> Result<(), Error> {
        self.0.synchronize()
    }

    /// Whether both are the same device and stream.
    pub fn same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn driver(&self) -> &dyn Driver {
        &*self.0
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({})", self.name())
    }
}
