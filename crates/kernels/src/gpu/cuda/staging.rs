//! Page-locked memory through which everything goes up: the caller's buffer is free again on return, and the device is not
//! waited for.
//!
//! A copy from the caller's own pages would do neither on every machine: where the device reads them directly (HMM, Grace) it
//! is still under way on return.

use std::ffi::c_void;

use cudarc::driver::result::{self, DriverError, stream};
use cudarc::driver::sys::CUstream;

/// The small uploads of a step fit in; weights go through in pieces.
const BYTES: usize = 8 << 20;

pub(super) struct Staging {
    area: *mut c_void,
    /// Up to here the area may still be read by copies under way.
    used: usize,
}

impl Staging {
    pub(super) fn new() -> Result<Staging, DriverError> {
        // SAFETY: freed once, in drop.
        let area = unsafe { result::malloc_host(BYTES, 0) }?;
        Ok(Staging { area, used: 0 })
    }

    /// Queues the copy of `bytes` to the device.
    pub(super) fn upload(
        &mut self,
        to: u64,
        bytes: &[u8],
        stream: CUstream,
    ) -> Result<(), DriverError> {
        for (chunk, at) in bytes.chunks(BYTES).zip((0u64..).step_by(BYTES)) {
            if self.used + chunk.len() > BYTES {
                self.wait(stream)?;
            }
            // SAFETY: the area is BYTES long and nobody reads it from `used` on; the destination is the caller's.
            unsafe {
                let place = self.area.cast::<u8>().add(self.used);
                place.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len());
                let staged = std::slice::from_raw_parts(place, chunk.len());
                result::memcpy_htod_async(to + at, staged, stream)?;
            }
            self.used += chunk.len();
        }
        Ok(())
    }

    /// Waits for everything on the stream; the whole area is free then.
    pub(super) fn wait(&mut self, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the stream is the driver's own.
        unsafe { stream::synchronize(stream) }?;
        self.used = 0;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // SAFETY: from malloc_host; the driver has waited for the stream.
        let _ = unsafe { result::free_host(self.area) };
    }
}
