//! Statuses, and the record of an error that the caller owns.

use std::ffi::c_char;

/// What a call came to.
pub type halo_status = i32;
/// It did what it says.
pub const HALO_OK: halo_status = 0;
/// NULL, out of range, or a bad combination.
pub const HALO_E_INVALID_ARGUMENT: halo_status = 1;
/// Sizes disagree.
pub const HALO_E_SHAPE: halo_status = 2;
/// Elements of another type than documented.
pub const HALO_E_DTYPE: halo_status = 3;
/// Strides, alignment or device.
pub const HALO_E_LAYOUT: halo_status = 4;
/// NaN or infinity where none may be.
pub const HALO_E_NONFINITE: halo_status = 5;
/// Not in this build, or a constant that this version does not know.
pub const HALO_E_UNSUPPORTED: halo_status = 6;
/// No such name, key or file.
pub const HALO_E_NOT_FOUND: halo_status = 7;
/// Header and library do not fit.
pub const HALO_E_ABI: halo_status = 8;
/// A call out of order.
pub const HALO_E_STATE: halo_status = 9;
/// The handle is in use by another thread.
pub const HALO_E_BUSY: halo_status = 10;
/// Called from the handle's own callback.
pub const HALO_E_REENTRANT: halo_status = 11;
/// Stopped on request.
pub const HALO_E_CANCELLED: halo_status = 12;
/// A callback failed: see host_code.
pub const HALO_E_CALLBACK: halo_status = 13;
/// The operating system refused.
pub const HALO_E_IO: halo_status = 14;
/// A file or text that cannot be read.
pub const HALO_E_FORMAT: halo_status = 15;
/// Readable, but no use as an example.
pub const HALO_E_DATA: halo_status = 16;
/// Host or device memory is exhausted.
pub const HALO_E_MEMORY: halo_status = 17;
/// A driver failed.
pub const HALO_E_DEVICE: halo_status = 18;
/// Another rank failed or disagrees.
pub const HALO_E_PEER: halo_status = 19;
/// A defect of the library, caught.
pub const HALO_E_PANIC: halo_status = 98;
/// The handle met such a defect before; only its _free works.
pub const HALO_E_POISONED: halo_status = 99;

/// What went wrong. The caller owns it, usually on the stack; it is written only if a call fails.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_error {
    /// sizeof(halo_error) as the host compiled it.
    pub struct_size: u32,
    /// What the call returned.
    pub code: halo_status,
    /// The parameter at fault, counted from 0; -1 unknown.
    pub argument: i32,
    /// What the host's callback returned.
    pub host_code: i32,
    /// The row, record or line at fault, from 0; -1 unknown.
    pub example: i64,
    /// A stable name of the check, such as "loss.beta".
    pub site: [c_char; 64],
    /// For people; ends with NUL, cut between characters.
    pub message: [c_char; 512],
}

/// The statuses with their names.
pub(crate) const NAMES: &[(halo_status, &std::ffi::CStr)] = &[
    (HALO_OK, c"HALO_OK"),
    (HALO_E_INVALID_ARGUMENT, c"HALO_E_INVALID_ARGUMENT"),
    (HALO_E_SHAPE, c"HALO_E_SHAPE"),
    (HALO_E_DTYPE, c"HALO_E_DTYPE"),
    (HALO_E_LAYOUT, c"HALO_E_LAYOUT"),
    (HALO_E_NONFINITE, c"HALO_E_NONFINITE"),
    (HALO_E_UNSUPPORTED, c"HALO_E_UNSUPPORTED"),
    (HALO_E_NOT_FOUND, c"HALO_E_NOT_FOUND"),
    (HALO_E_ABI, c"HALO_E_ABI"),
    (HALO_E_STATE, c"HALO_E_STATE"),
    (HALO_E_BUSY, c"HALO_E_BUSY"),
    (HALO_E_REENTRANT, c"HALO_E_REENTRANT"),
    (HALO_E_CANCELLED, c"HALO_E_CANCELLED"),
    (HALO_E_CALLBACK, c"HALO_E_CALLBACK"),
    (HALO_E_IO, c"HALO_E_IO"),
    (HALO_E_FORMAT, c"HALO_E_FORMAT"),
    (HALO_E_DATA, c"HALO_E_DATA"),
    (HALO_E_MEMORY, c"HALO_E_MEMORY"),
    (HALO_E_DEVICE, c"HALO_E_DEVICE"),
    (HALO_E_PEER, c"HALO_E_PEER"),
    (HALO_E_PANIC, c"HALO_E_PANIC"),
    (HALO_E_POISONED, c"HALO_E_POISONED"),
];
