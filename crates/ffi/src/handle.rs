//! Opaque handles: who may use one when, checked on every call.
//!
//! `const T *` is shared use, `T *` exclusive use. A clash is answered at once, never waited for; a panic during exclusive use
//! poisons.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::failure::{Failure, Outcome};
use crate::intake::{Host, Out};
use crate::status::*;

/// A type that C knows by name only.
pub(crate) trait Opaque: Sized + 'static {
    /// What stands behind it.
    type State: 'static;
    /// Its name in C.
    const NAME: &'static str;
    fn wrap(handle: Handle<Self::State>) -> Self;
    fn handle(&self) -> &Handle<Self::State>;
}

/// Says what stands behind a handle type, which is a tuple of its [`Handle`].
macro_rules! opaque {
    ($name:ident, $state:ty) => {
        impl crate::handle::Opaque for $name {
            type State = $state;
            const NAME: &'static str = stringify!($name);
            fn wrap(handle: crate::handle::Handle<$state>) -> Self {
                $name(handle)
            }
            fn handle(&self) -> &crate::handle::Handle<$state> {
                &self.0
            }
        }
    };
}
pub(crate) use opaque;

/// A value with the mark of its users.
pub(crate) struct Handle<T> {
    /// [`LIVE`] until freed: debug builds catch most uses of what is none.
    magic: AtomicU64,
    /// [`EXCLUSIVE`], or the number of shared users.
    users: AtomicU32,
    /// The thread of the exclusive user.
    owner: AtomicU64,
    poisoned: AtomicBool,
    value: UnsafeCell<T>,
}

const LIVE: u64 = 0x6861_6c6f_6c69_7665;
const FREED: u64 = 0x6861_6c6f_6465_6164;
const EXCLUSIVE: u32 = u32::MAX;

// SAFETY: the value is reached through `Shared` and `Exclusive` only, whose marks exclude each other.
unsafe impl<T: Send + Sync> Sync for Handle<T> {}

impl<T> Handle<T> {
    fn new(value: T) -> Handle<T> {
        Handle {
            magic: AtomicU64::new(LIVE),
            users: AtomicU32::new(0),
            owner: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    fn refuse(&self, name: &str, argument: usize) -> Failure {
        let (code, why) = match self.owner.load(Ordering::Relaxed) == this_thread() {
            true => (
                HALO_E_REENTRANT,
                "is in use by the call that this callback serves",
            ),
            false => (HALO_E_BUSY, "is in use by another thread"),
        };
        Failure::new(code, name, format!("this {name} {why}")).argument(argument)
    }
}

/// A number of this thread; never 0.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// One of several users.
pub(crate) struct Shared<'a, T>(&'a Handle<T>);

/// The only user.
pub(crate) struct Exclusive<'a, T>(&'a Handle<T>);

impl Host {
    /// The state behind a `const` handle.
    ///
    /// # Errors
    /// NULL, busy, poisoned.
    pub(crate) fn shared<H: Opaque>(
        &self,
        argument: usize,
        handle: *const H,
    ) -> Outcome<Shared<'_, H::State>> {
        let handle = self.look(argument, handle)?;
        let users = |users: u32| (users < EXCLUSIVE - 1).then(|| users + 1);
        match handle
            .users
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, users)
        {
            Ok(_) => Ok(Shared(handle)),
            Err(_) => Err(handle.refuse(H::NAME, argument)),
        }
    }

    /// The state behind a handle that the call may change.
    ///
    /// # Errors
    /// NULL, busy, poisoned.
    pub(crate) fn exclusive<H: Opaque>(
        &self,
        argument: usize,
        handle: *mut H,
    ) -> Outcome<Exclusive<'_, H::State>> {
        let handle = self.look(argument, handle)?;
        match handle
            .users
            .compare_exchange(0, EXCLUSIVE, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => {
                handle.owner.store(this_thread(), Ordering::Relaxed);
                Ok(Exclusive(handle))
            }
            Err(_) => Err(handle.refuse(H::NAME, argument)),
        }
    }

    fn look<H: Opaque>(&self, argument: usize, handle: *const H) -> Outcome<&Handle<H::State>> {
        let fail = |code, why: &str| {
            let message = format!("{} {why}", H::NAME);
            Err(Failure::new(code, H::NAME, message).argument(argument))
        };
        if handle.is_null() {
            return fail(HALO_E_INVALID_ARGUMENT, "is NULL");
        }
        if !handle.is_aligned() {
            return fail(HALO_E_LAYOUT, "is no pointer that this library gave");
        }
        // SAFETY: the host passes live handles of this type, by the rules of the header.
        let handle = unsafe { &*handle }.handle();
        if cfg!(debug_assertions) && handle.magic.load(Ordering::Relaxed) != LIVE {
            return fail(HALO_E_INVALID_ARGUMENT, "was freed, or is no such handle");
        }
        if handle.poisoned.load(Ordering::Relaxed) {
            let why = "met a defect of the library earlier and can only be freed";
            return fail(HALO_E_POISONED, why);
        }
        Ok(handle)
    }

    /// Frees a handle; NULL is nothing to free. One that is in use stays: leaking is better than pulling it away.
    pub(crate) fn free<H: Opaque>(&self, handle: *mut H) {
        if handle.is_null() || !handle.is_aligned() {
            return;
        }
        // SAFETY: the host passes live handles of this type, by the rules of the header.
        let inner = unsafe { &*handle }.handle();
        let magic = &inner.magic;
        if inner.users.load(Ordering::Acquire) != 0
            || magic
                .compare_exchange(LIVE, FREED, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        // SAFETY: it came from `give`, nobody uses it, and the mark above lets one call through only.
        drop(unsafe { Box::from_raw(handle) });
    }
}

impl<H: Opaque> Out<*mut H> {
    /// Hands a new handle to the host.
    pub(crate) fn give(self, state: H::State) {
        self.write(Box::into_raw(Box::new(H::wrap(Handle::new(state)))));
    }
}

impl<T> Deref for Shared<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: shared users only read, and keep exclusive ones out.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> Drop for Shared<'_, T> {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Release);
    }
}

impl<T> Deref for Exclusive<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this is the only user.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Exclusive<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the only user.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Exclusive<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poisoned.store(true, Ordering::Relaxed);
        }
        self.0.owner.store(0, Ordering::Relaxed);
        self.0.users.store(0, Ordering::Release);
    }
}
