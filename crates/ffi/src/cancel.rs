//! A wish to stop, from anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::guard::{guard, guard_or};
use crate::handle::{Handle, opaque};
use crate::status::*;

/// Stops a long call that it was given to.
pub struct halo_cancel(Handle<Cancel>);
opaque!(halo_cancel, Cancel);

/// Shared with the call, so that it may be freed before the call ends.
#[derive(Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A token that says: go on.
///
/// @since 0.1
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_cancel_new(
    out: *mut *mut halo_cancel,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            host.out(0, "out", out)?.give(Cancel::default());
            Ok(())
        })
    }
}

/// Asks every call with this token to stop soon with HALO_E_CANCELLED. Allowed on any thread and in a signal handler.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_cancel_request(cancel: *mut halo_cancel) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { set(cancel, true) }
}

/// Makes the token say "go on" again.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_cancel_reset(cancel: *mut halo_cancel) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { set(cancel, false) }
}

/// Frees a token; NULL is nothing to free. A call that has it goes on.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_cancel_free(cancel: *mut halo_cancel) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { guard_or((), |host| host.free(cancel)) }
}

/// Shared use and an atomic store: nothing here waits, allocates or locks.
///
/// # Safety
/// `cancel` is NULL or a live token.
unsafe fn set(cancel: *const halo_cancel, value: bool) {
    // SAFETY: the caller's promise.
    let host = unsafe { crate::intake::Host::new() };
    if let Ok(cancel) = host.shared(0, cancel) {
        cancel.0.store(value, Ordering::Relaxed);
    }
}
