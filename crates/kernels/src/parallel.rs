//! Tasks of unequal size that write disjoint, interleaved parts: heads of one row, columns of one matrix.

use crate::Error;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `body` once for each of `units`, in that order as workers become free: put the large ones first.
///
/// Every worker of the current pool has one scratch value from `init`, so that buffers are allocated once a call and not
/// once a unit. A unit must not depend on what an earlier one left in the scratch.
pub(crate) fn for_each_unit<U: Sync, S>(
    units: &[U],
    init: impl Fn() -> S + Sync,
    body: impl Fn(&mut S, &U) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        let mut scratch = None;
        while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = body(scratch.get_or_insert_with(&init), unit) {
                failure
                    .lock()
                    .unwrap_or_else(|e| e.into_inner())
                    .get_or_insert(error);
            }
        }
    };
    let workers = rayon::current_num_threads().min(units.len());
    if workers <= 1 {
        work();
    } else {
        rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| work())));
    }
    match failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// A mutable slice that several tasks may write at once, each its own elements.
///
/// Rayon's chunk iterators cover contiguous parts; attention writes (rows × one head), which interleave.
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `slice`, whose callers promise disjoint ranges; `T: Send` elements may be written by any thread.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above: a shared reference gives out only disjoint mutable parts.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Shared {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            owner: PhantomData,
        }
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// No element of `range` is reachable through another live slice of this `Shared`.
    #[allow(
        clippy::mut_from_ref,
        reason = "the point of the type; disjointness is the caller's promise"
    )]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "a task left its buffer"
        );
        // SAFETY: in bounds by the assertion; the borrow behind `self` is exclusive for 'a; disjointness by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Element `at`.
    ///
    /// # Safety
    /// As [`Shared::slice`].
    #[allow(
        clippy::mut_from_ref,
        reason = "the point of the type; disjointness is the caller's promise"
    )]
    pub(crate) unsafe fn at(&self, at: usize) -> &mut T {
        // SAFETY: the caller's promise.
        let element = unsafe { self.slice(at..at + 1) };
        &mut element[0]
    }
}
