//! How a long call is watched and stopped.

use std::ffi::{c_char, c_void};

use crate::cancel::halo_cancel;
use crate::intake::Sized32;

/// Told how far a long call is: `phase` is static text such as "train". Return 0 to go on, anything else to stop with
/// HALO_E_CANCELLED.
pub type halo_progress_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, phase: *const c_char, done: u64, total: u64) -> i32,
>;

/// Gets text piece by piece, as it comes; whole characters, not NUL-terminated. Return 0 to go on, anything else to stop with
/// HALO_E_CANCELLED.
pub type halo_text_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_char, len: usize) -> i32>;

/// How a long call is watched and stopped.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_run {
    /// sizeof(halo_run) as the host compiled it.
    pub struct_size: u32,
    /// 0.
    pub flags: u32,
    /// Training: the most optimizer steps of this call; 0 = to the configured end.
    pub max_steps: u64,
    /// Honoured between micro-batches and between tokens; NULL = none.
    pub cancel: *mut halo_cancel,
    /// NULL = nobody is told.
    pub progress: halo_progress_fn,
    /// Generation: NULL = nobody is told.
    pub text: halo_text_fn,
    /// Passed to the callbacks.
    pub user: *mut c_void,
}
// SAFETY: numbers, pointers and functions without padding, the size first; a function is NULL or what the host says it is.
unsafe impl Sized32 for halo_run {
    const NAME: &'static str = "halo_run";
}
