//! From an ordinal to a working device, with a sentence for everything that may be missing on the way.

use std::sync::{Arc, Mutex};

use cudarc::driver::result::{self, ctx, device, mem_pool, primary_ctx, stream};
use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUmemPool_attribute, CUstream,
};

use super::super::driver::Driver;
use super::{Blas, Cuda, Kernels, Staging, failed, kernels};
use crate::Error;

const OP: &str = "gpu::cuda";

/// Ampere: bf16 in tensor cores and in cuBLAS; the kernels' PTX is made for it.
const CAPABILITY: (i32, i32) = (8, 0);

/// The device's primary context, shared with whatever else in the process uses it.
pub(super) struct Context {
    device: CUdevice,
    pub(super) raw: CUcontext,
}

impl Context {
    fn retain(device: CUdevice) -> Result<Context, Error> {
        // SAFETY: the device is one that the driver gave.
        let raw = unsafe { primary_ctx::retain(device) }.map_err(failed(OP, "its context"))?;
        let context = Context { device, raw };
        context.enter(OP)?;
        Ok(context)
    }

    /// Makes it current on the calling thread.
    pub(super) fn enter(&self, op: &'static str) -> Result<(), Error> {
        // SAFETY: the context is retained until drop.
        unsafe { ctx::set_current(self.raw) }.map_err(failed(op, "entering the context"))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once, in `retain`.
        let _ = unsafe { primary_ctx::release(self.device) };
    }
}

/// A stream that does not wait for the default one.
pub(super) struct Stream {
    pub(super) raw: CUstream,
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created once, in `open`; the context still lives.
        let _ = unsafe { stream::destroy(self.raw) };
    }
}

/// The device with this number, counted as the driver does (CUDA_VISIBLE_DEVICES hides some).
///
/// # Errors
/// Kernels that were not compiled in; no driver, no device of that number, one too old; no cuBLAS.
pub(in super::super) fn open(ordinal: usize) -> Result<Arc<dyn Driver>, Error> {
    kernels::compiled()?;
    load()?;
    let device = find(ordinal)?;
    let context = Context::retain(device)?;
    let raw = stream::create(stream::StreamKind::NonBlocking).map_err(failed(OP, "a stream"))?;
    let stream = Stream { raw };
    let name = device::get_name(device).map_err(failed(OP, "its name"))?;
    let limit = attribute(
        device,
        CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
    )?;
    Ok(Arc::new(Cuda {
        name: format!("{name} (cuda:{ordinal})"),
        blas: Mutex::new(Blas::new(raw)?),
        kernels: Mutex::new(Kernels::new(limit as usize)),
        staging: Mutex::new(Staging::new().map_err(failed(OP, "page-locked memory"))?),
        pool: pool(device)?,
        stream,
        context,
    }))
}

/// The driver's library, initialised, and new enough for the kernels.
fn load() -> Result<(), Error> {
    // cudarc panics where a library is missing: ask first.
    // SAFETY: loading NVIDIA's libraries runs their initialisers, which ask for nothing.
    if !unsafe { sys::is_culib_present() } {
        return Err(refused(
            "no NVIDIA driver on this machine: libcuda cannot be loaded",
        ));
    }
    result::init().map_err(failed(OP, "starting NVIDIA's driver"))?;
    let mut version = 0;
    // SAFETY: writes one integer.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(failed(OP, "the driver's version"))?;
    let driver = (version / 1000, version % 1000 / 10);
    let needed = kernels::release();
    if driver < needed {
        return Err(refused(format!(
            "the NVIDIA driver supports CUDA up to {}.{}, but these kernels were compiled with {}.{}: update the driver, or \
             build halo with an nvcc not newer than the driver",
            driver.0, driver.1, needed.0, needed.1
        )));
    }
    // SAFETY: as for the driver's library.
    if !unsafe { cudarc::cublas::sys::is_culib_present() } {
        return Err(refused(
            "cuBLAS cannot be loaded: libcublas and libcublasLt (12 or 13) must be where the system's loader looks, \
             LD_LIBRARY_PATH for one",
        ));
    }
    Ok(())
}

fn find(ordinal: usize) -> Result<CUdevice, Error> {
    let count = device::get_count().map_err(failed(OP, "counting devices"))?;
    let number = i32::try_from(ordinal).ok().filter(|&number| number < count);
    let Some(number) = number else {
        return Err(refused(format!(
            "device {ordinal} asked for, but the driver shows {count} (of those that CUDA_VISIBLE_DEVICES lets it see)"
        )));
    };
    let device = device::get(number).map_err(failed(OP, "the device"))?;
    let major = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
    let minor = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR;
    let capability = (attribute(device, major)?, attribute(device, minor)?);
    if capability < CAPABILITY {
        let name = device::get_name(device).map_err(failed(OP, "its name"))?;
        return Err(refused(format!(
            "{name} has compute capability {}.{}; {}.{} (Ampere) or newer is needed",
            capability.0, capability.1, CAPABILITY.0, CAPABILITY.1
        )));
    }
    let pools = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED;
    if attribute(device, pools)? == 0 {
        return Err(refused(
            "the device has no stream-ordered memory pools (a virtual GPU without unified memory, perhaps)",
        ));
    }
    Ok(device)
}

/// The default pool, told to keep what is freed: otherwise every wait would hand it back to the device.
fn pool(device: CUdevice) -> Result<sys::CUmemoryPool, Error> {
    // SAFETY: the device is one that the driver gave.
    let pool = unsafe { device::get_default_mem_pool(device) }.map_err(failed(OP, "its pool"))?;
    let mut keep = u64::MAX;
    // SAFETY: the attribute is a 64-bit count.
    unsafe {
        mem_pool::set_attribute(
            pool,
            CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw mut keep).cast(),
        )
    }
    .map_err(failed(OP, "its pool's threshold"))?;
    Ok(pool)
}

fn attribute(device: CUdevice, attribute: CUdevice_attribute) -> Result<i32, Error> {
    // SAFETY: the device is one that the driver gave.
    unsafe { device::get_attribute(device, attribute) }.map_err(failed(OP, "asking the device"))
}

fn refused(message: impl Into<String>) -> Error {
    Error::device(OP, message.into())
}
