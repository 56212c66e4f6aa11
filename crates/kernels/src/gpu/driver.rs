//! What the ops ask of a device.

use std::ffi::c_void;

use super::Dtype;
use crate::Error;

/// Bytes of device memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held by slices now.
    pub in_use: usize,
    /// The most that slices ever held.
    pub peak: usize,
    /// Free on the device, whoever uses the rest.
    pub free: usize,
    /// The device's size.
    pub total: usize,
}

/// One stream of a device. Everything is ordered by the stream; addresses are the device's.
pub(crate) trait Driver: Send + Sync {
    fn name(&self) -> String;

    /// Whether the threads of a block run in another order from time to time.
    fn varies(&self) -> bool {
        true
    }

    /// Uninitialised memory, aligned to 256 bytes.
    fn alloc(&self, bytes: usize) -> Result<u64, Error>;

    fn free(&self, address: u64, bytes: usize);

    /// Takes the bytes before it returns.
    fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Waits.
    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error>;

    fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), Error>;

    fn zero(&self, to: u64, bytes: usize) -> Result<(), Error>;

    /// Runs a kernel by its exported name.
    ///
    /// # Safety
    /// `args` point at values of the kernel's parameter types, in order, and the memory they name is as large as the kernel takes it to be.
    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared: usize,
        args: &mut [*mut c_void],
    ) -> Result<(), Error>;

    /// # Safety
    /// The three matrices lie in memory of this device and are as large as the shape says.
    unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), Error>;

    fn memory(&self) -> Result<Memory, Error>;

    fn synchronize(&self) -> Result<(), Error>;
}

/// Row-major c (m, n) = alpha·op(a)·op(b) + beta·c, summed in f32; with beta = 0 the old c is not read.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(any(feature = "cuda", feature = "emulator")),
    expect(dead_code, reason = "a build without a device never multiplies on it")
)]
pub(crate) struct Gemm {
    pub(crate) a: u64,
    pub(crate) b: u64,
    pub(crate) c: u64,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// a is stored (k, m).
    pub(crate) transpose_a: bool,
    /// b is stored (n, k).
    pub(crate) transpose_b: bool,
    /// `F32` or `Bf16`, of both.
    pub(crate) operands: Dtype,
    /// `F32`, or the operands'.
    pub(crate) output: Dtype,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
}
