//! Functions that are found by name only, by `halo_proc_find`: they may go with any version, and their names are never used again.
//!
//! With the feature `test-hooks` they are what the tests of the guard, of the handles and of the pool call.

use crate::library::halo_proc;

/// The names and the functions. A function has its own type in C, which its caller casts it to.
const FUNCTIONS: &[(&str, halo_proc)] = &[
    #[cfg(feature = "test-hooks")]
    ("halo_handle_hold", hooks::HOLD),
    #[cfg(feature = "test-hooks")]
    ("halo_pool_sum", hooks::SUM),
];

/// The function of a name.
pub(crate) fn find(name: &str) -> halo_proc {
    FUNCTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .and_then(|(_, function)| *function)
}

#[cfg(feature = "test-hooks")]
mod hooks {
    use std::ffi::c_void;
    use std::mem::transmute;

    use rayon::prelude::*;

    use crate::guard::guard;
    use crate::handle::AnyHandle;
    use crate::library::halo_proc;
    use crate::pool;
    use crate::status::*;

    type Inside = Option<unsafe extern "C" fn(user: *mut c_void)>;
    type Hold = unsafe extern "C" fn(*mut c_void, Inside, *mut c_void, *mut halo_error) -> i32;
    type Sum = unsafe extern "C" fn(u64, *mut u64, *mut halo_error) -> i32;

    // SAFETY: both are pointers to functions; the caller casts it back before the call.
    pub(super) const HOLD: halo_proc =
        Some(unsafe { transmute::<Hold, unsafe extern "C" fn()>(hold) });
    // SAFETY: as above.
    pub(super) const SUM: halo_proc =
        Some(unsafe { transmute::<Sum, unsafe extern "C" fn()>(sum) });

    /// Has a handle of any type to itself while it calls `inside`; without one it panics, the handle in its hands.
    unsafe extern "C" fn hold(
        handle: *mut c_void,
        inside: Inside,
        user: *mut c_void,
        err: *mut halo_error,
    ) -> halo_status {
        // SAFETY: the tests keep the header's rules.
        unsafe {
            guard(err, |host| {
                let _held = host.exclusive(0, handle.cast::<AnyHandle>())?;
                match inside {
                    Some(inside) => inside(user),
                    None => panic!("a test wanted this"),
                }
                Ok(())
            })
        }
    }

    /// 0 + 1 + .. + (count - 1), on the pool.
    unsafe extern "C" fn sum(count: u64, out: *mut u64, err: *mut halo_error) -> halo_status {
        // SAFETY: the tests keep the header's rules.
        unsafe {
            guard(err, |host| {
                let out = host.out(1, "out", out)?;
                out.write(pool::run(|| Ok((0..count).into_par_iter().sum()))?);
                Ok(())
            })
        }
    }
}
