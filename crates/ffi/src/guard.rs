//! The one door: every export runs inside [`guard`], so that no panic reaches the host and every failure its record.

use std::cell::Cell;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::status::*;

thread_local! {
    /// How many exports this thread is inside of.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Runs an export's body, and writes into `err` why it failed, if it did.
///
/// # Safety
/// `err` is NULL or an initialised `halo_error`, and everything that the body reads or writes through its [`Host`] is an argument
/// of the export, whose caller keeps the rules of the header.
pub(crate) unsafe fn guard(
    err: *mut halo_error,
    body: impl FnOnce(&Host) -> Outcome,
) -> halo_status {
    // SAFETY: the caller's promise.
    let host = unsafe { Host::new() };
    let failure = match caught(|| body(&host)) {
        Ok(Ok(())) => return HALO_OK,
        Ok(Err(failure)) => failure,
        Err(failure) => failure,
    };
    // SAFETY: the caller's promise.
    unsafe { report(&failure, err) };
    failure.code()
}

/// The same for an export that cannot fail: a panic gives `otherwise`.
///
/// # Safety
/// As [`guard`].
pub(crate) unsafe fn guard_or<T>(otherwise: T, body: impl FnOnce(&Host) -> T) -> T {
    // SAFETY: the caller's promise.
    let host = unsafe { Host::new() };
    caught(|| body(&host)).unwrap_or(otherwise)
}

fn caught<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    quiet_hook();
    INSIDE.set(INSIDE.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(INSIDE.get() - 1);
    outcome.map_err(Failure::panic)
}

/// The default hook prints: ours is silent inside the library, and lets others' panics on other threads speak as before.
fn quiet_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if INSIDE.get() == 0 && !crate::pool::is_worker() {
                before(panic);
            }
        }));
    });
}

/// Writes as much of the record as the host has room for.
///
/// # Safety
/// `err` is NULL or points to a `halo_error` as long as its struct_size says.
unsafe fn report(failure: &Failure, err: *mut halo_error) {
    if err.is_null() || !err.is_aligned() {
        return;
    }
    let record = failure.record();
    // SAFETY: every record begins with its size.
    let size = unsafe { err.cast::<u32>().read() } as usize;
    let start = offset_of!(halo_error, code);
    let known = size.min(size_of::<halo_error>());
    if known <= start {
        return;
    }
    // SAFETY: both are at least `known` bytes long; the host keeps its own struct_size.
    unsafe {
        let from = (&raw const record).cast::<u8>().add(start);
        err.cast::<u8>()
            .add(start)
            .copy_from_nonoverlapping(from, known - start);
    }
    // A shorter record of an older header still ends its text: its last byte belongs to a text.
    if known < size_of::<halo_error>() && known > offset_of!(halo_error, site) {
        // SAFETY: within the host's record.
        unsafe { err.cast::<u8>().add(known - 1).write(0) };
    }
}
