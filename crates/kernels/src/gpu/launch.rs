//! The door to a kernel: its name, its arguments, its grid.

use std::ffi::c_void;

use super::{Dtype, Gpu, Slice};
use crate::Error;

/// A kernel's arguments in the order of its parameters.
///
/// The caller has checked that the slices are as long as the kernel takes them to be: that check is the safety of the launch.
pub(super) struct Launch<'a> {
    gpu: &'a Gpu,
    kernel: &'static str,
    /// Eight bytes each: a parameter's value stands in the low ones, little-endian as every GPU's host.
    values: Vec<u64>,
}

impl<'a> Launch<'a> {
    pub(super) fn new(gpu: &'a Gpu, kernel: &'static str) -> Launch<'a> {
        Launch {
            gpu,
            kernel,
            values: Vec::with_capacity(16),
        }
    }

    /// A pointer parameter.
    pub(super) fn slice(mut self, slice: &Slice) -> Self {
        self.values.push(slice.address());
        self
    }

    /// A pointer parameter that may be null.
    pub(super) fn option(mut self, slice: Option<&Slice>) -> Self {
        self.values.push(slice.map_or(0, Slice::address));
        self
    }

    /// An `unsigned` parameter.
    ///
    /// # Errors
    /// A number above 2³² − 1.
    pub(super) fn unsigned(mut self, value: usize) -> Result<Self, Error> {
        let value = u32::try_from(value)
            .map_err(|_| Error::shape(self.kernel, "a dimension is above 2^32 - 1"))?;
        self.values.push(u64::from(value));
        Ok(self)
    }

    /// A `size_t` parameter.
    pub(super) fn size(mut self, value: usize) -> Self {
        self.values.push(value as u64);
        self
    }

    /// A `float` parameter.
    pub(super) fn float(mut self, value: f32) -> Self {
        self.values.push(u64::from(value.to_bits()));
        self
    }

    /// Runs the kernel's form for `dtype` over a grid of blocks of `block` threads with `shared` bytes of dynamic shared memory.
    ///
    /// # Errors
    /// Those of the driver; a grid that no device has.
    pub(super) fn run(
        mut self,
        dtype: Dtype,
        grid: [usize; 3],
        block: u32,
        shared: usize,
    ) -> Result<(), Error> {
        if grid.contains(&0) {
            return Ok(());
        }
        if grid[0] > i32::MAX as usize || grid[1] > 65_535 || grid[2] > 65_535 {
            return Err(Error::shape(self.kernel, "more blocks than a grid holds"));
        }
        let suffix = match dtype {
            Dtype::Bf16 => "bf16",
            _ => "f32",
        };
        let mut args: Vec<*mut c_void> = self
            .values
            .iter_mut()
            .map(|value| std::ptr::from_mut(value).cast())
            .collect();
        // SAFETY: the op that built this launch gave the kernel's parameters in order and checked the slices' lengths; `values` outlives the call.
        unsafe {
            self.gpu.driver().launch(
                &format!("{}_{suffix}", self.kernel),
                grid.map(|blocks| blocks as u32),
                block,
                shared,
                &mut args,
            )
        }
    }
}

/// Threads for a row of `d` elements: one an element, within a block of 32 to 256.
pub(super) fn threads(d: usize) -> u32 {
    (d.clamp(32, 256) as u32).next_multiple_of(32)
}
