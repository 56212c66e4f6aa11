//! Shared mutable slices for tasks that write disjoint, interleaved parts: heads of one row, columns of one matrix.

use std::marker::PhantomData;
use std::ops::Range;

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
}
