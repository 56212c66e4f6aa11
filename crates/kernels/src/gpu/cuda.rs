//! The real GPU: NVIDIA's driver and cuBLAS, loaded when first asked for, so that one binary starts with and without them.
//!
//! One stream, on which everything is ordered, memory included: what is freed is reused by what is allocated later, without
//! waiting. In the steady state no call waits but a download, and none asks the device for new memory.

mod blas;
mod kernels;
mod open;
mod staging;

pub(super) use open::open;

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::result::{self, DriverError, ctx, mem_pool, stream};
use cudarc::driver::sys::{CUmemPool_attribute, CUmemoryPool, CUresult};

use super::driver::{Driver, Gemm, Memory};
use crate::Error;
use blas::Blas;
use kernels::Kernels;
use open::{Context, Stream};
use staging::Staging;

/// One device. The fields go in this order: what lives in the context before the context.
struct Cuda {
    name: String,
    blas: Mutex<Blas>,
    kernels: Mutex<Kernels>,
    staging: Mutex<Staging>,
    pool: CUmemoryPool,
    stream: Stream,
    context: Context,
}

// SAFETY: the handles are the driver's, whose functions any thread may call once the context is current on it, which every
// method sees to; what has state on our side (cuBLAS, the cache of functions, the staging area) is behind a mutex.
unsafe impl Send for Cuda {}
// SAFETY: as above.
unsafe impl Sync for Cuda {}

impl Driver for Cuda {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn alloc(&self, bytes: usize) -> Result<u64, Error> {
        const OP: &str = "gpu::alloc";
        self.enter(OP)?;
        // The driver refuses to allocate nothing.
        let bytes = bytes.max(1);
        // SAFETY: the stream is ours; the memory is used on it only.
        let allocate = || unsafe { result::malloc_async(self.stream.raw, bytes) };
        let first = allocate();
        if !matches!(first, Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY))) {
            return first.map_err(failed(OP, "allocation"));
        }
        // What the pool keeps may be in pieces: give it all back to the device, then ask once more.
        self.synchronize()?;
        // SAFETY: the pool is the device's own.
        unsafe { mem_pool::trim_to(self.pool, 0) }.map_err(failed(OP, "trimming the pool"))?;
        match allocate() {
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                let memory = self.memory()?;
                Err(Error::out_of_memory(OP, bytes, memory.free, memory.total))
            }
            second => second.map_err(failed(OP, "allocation")),
        }
    }

    fn free(&self, pointer: u64, _bytes: usize) {
        if self.enter("gpu::free").is_ok() {
            // SAFETY: `pointer` came from `alloc` and goes once, after everything that was launched on the stream. An error
            // here is one of an earlier launch, which the next call that can report it does.
            let _ = unsafe { result::free_async(pointer, self.stream.raw) };
        }
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error> {
        const OP: &str = "gpu::upload";
        self.enter(OP)?;
        held(&self.staging)
            .upload(to, bytes, self.stream.raw)
            .map_err(failed(OP, "copy to the device"))
    }

    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error> {
        const OP: &str = "gpu::download";
        self.enter(OP)?;
        if !bytes.is_empty() {
            // SAFETY: the caller's run of memory is `bytes` long; `bytes` outlives the copy, since the stream is awaited below
            // whether or not the copy could be queued.
            unsafe { result::memcpy_dtoh_async(bytes, from, self.stream.raw) }
                .map_err(failed(OP, "copy from the device"))?;
        }
        self.synchronize()
    }

    fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), Error> {
        const OP: &str = "gpu::copy";
        if bytes == 0 {
            return Ok(());
        }
        self.enter(OP)?;
        // SAFETY: both runs of memory are the caller's and `bytes` long.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.raw) }
            .map_err(failed(OP, "copy on the device"))
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<(), Error> {
        const OP: &str = "gpu::zero";
        if bytes == 0 {
            return Ok(());
        }
        self.enter(OP)?;
        // SAFETY: the run of memory is the caller's and `bytes` long.
        unsafe { result::memset_d8_async(to, 0, bytes, self.stream.raw) }
            .map_err(failed(OP, "zeroing"))
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared: usize,
        args: &mut [*mut c_void],
    ) -> Result<(), Error> {
        if grid.contains(&0) {
            return Ok(());
        }
        self.enter(kernels::OP)?;
        let function = held(&self.kernels).function(kernel, shared)?;
        let [x, y, z] = grid;
        // SAFETY: the function is of a module that lives as long as this driver; that the arguments are the kernel's is the
        // caller's promise. `function` has checked that `shared` fits 32 bits.
        unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                (block, 1, 1),
                shared as u32,
                self.stream.raw,
                args,
            )
        }
        .map_err(|error| {
            let what =
                format!("launch of {kernel}, grid {grid:?}, block {block}, {shared} bytes shared");
            failed(kernels::OP, &what)(error)
        })
    }

    unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), Error> {
        self.enter(blas::OP)?;
        // SAFETY: the caller's promise: the three runs of memory have the sizes that the shapes give them.
        unsafe { held(&self.blas).gemm(gemm) }
    }

    fn memory(&self) -> Result<Memory, Error> {
        const OP: &str = "gpu::memory";
        self.enter(OP)?;
        let (free, total) =
            result::mem_get_info().map_err(failed(OP, "the device's free memory"))?;
        let attribute = |attribute| {
            let mut bytes = 0u64;
            // SAFETY: these attributes are 64-bit counts.
            unsafe { mem_pool::get_attribute(self.pool, attribute, (&raw mut bytes).cast()) }
                .map_err(failed(OP, "the pool's use"))?;
            Ok::<usize, Error>(bytes as usize)
        };
        let in_use = attribute(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
        let reserved = attribute(CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
        Ok(Memory {
            in_use,
            peak: attribute(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?,
            // What the pool holds back unused is ours to have.
            free: free + reserved.saturating_sub(in_use),
            total,
        })
    }

    fn synchronize(&self) -> Result<(), Error> {
        const OP: &str = "gpu::synchronize";
        self.enter(OP)?;
        held(&self.staging)
            .wait(self.stream.raw)
            .map_err(failed(OP, "waiting for the device"))
    }
}

impl Cuda {
    /// Makes the context current on the calling thread; nearly free where it is already.
    fn enter(&self, op: &'static str) -> Result<(), Error> {
        if ctx::get_current().map_err(failed(op, "the current context"))? == Some(self.context.raw)
        {
            return Ok(());
        }
        self.context.enter(op)
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.enter("gpu::drop").is_ok() {
            // SAFETY: the stream is ours and not yet destroyed. Whatever goes wrong, what follows frees all that is left.
            let _ = unsafe { stream::synchronize(self.stream.raw) };
        }
    }
}

/// A mutex whose holder panicked guards no broken state here: every change is one assignment.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver's error in words: what was tried, what it says, and its code.
fn failed<'a>(op: &'static str, what: &'a str) -> impl FnOnce(DriverError) -> Error + 'a {
    move |error| {
        let code = error.0;
        let says = match error.error_string() {
            Ok(text) => text.to_string_lossy().into_owned(),
            Err(_) => "the driver has no text for it".into(),
        };
        let hint = match code {
            // Kernels run later than they are launched: whoever comes next gets their errors.
            CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT => {
                "; an earlier kernel did it, and the device is lost to this process: CUDA_LAUNCH_BLOCKING=1 tells which one"
            }
            _ => "",
        };
        Error::device(op, format!("{what} failed: {says} ({code:?}){hint}"))
    }
}
