//! Reading what the host passes, and writing what it gets: the only place where its pointers are followed.
//!
//! Outputs are checked first and written at the end, when all has gone well, so that a failed call writes nothing and an output
//! may be one of the inputs. Only what is too large for a second copy is a Rust reference for writing: [`Host::places`].

mod managed;
mod watch;

use std::ffi::{CStr, c_char};

use halo_kernels::elements::{bf16, f16};

use crate::failure::{Failure, Outcome};
use crate::status::*;
pub(crate) use managed::DLManagedTensorVersioned;
pub(crate) use managed::owned_tensor;
pub(crate) use watch::Watch;

/// Stands for the promise that the pointers given to its methods are arguments of an export whose caller keeps the rules of
/// the header: NULL or valid for the documented length and for the time of the call.
pub(crate) struct Host(());

impl Host {
    /// # Safety
    /// The promise above.
    pub(crate) unsafe fn new() -> Host {
        Host(())
    }
}

/// Numbers and pointers of any bits.
///
/// # Safety
/// Every bit pattern is a value, and there is no padding.
pub(crate) unsafe trait Plain: Copy {}
macro_rules! plain {
    ($($type:ty)*) => { $(
        // SAFETY: an integer or floating-point number.
        unsafe impl Plain for $type {}
    )* };
}
plain!(i8 u8 i32 u32 i64 u64 f32 f64 usize bf16 f16);

/// A struct that the host fills.
///
/// # Safety
/// `repr(C)`, without padding, every bit pattern is a value, and its first field is `struct_size: u32`.
pub(crate) unsafe trait Sized32: Copy {
    /// Its name in C.
    const NAME: &'static str;
}

/// No struct is longer than this, so nobody forgot to set its size.
const ABSURD: usize = 1 << 16;

/// No memory is longer: a length beyond it is a mistake, and following its pointer would end the host. A processor of 64 bits
/// addresses 47 or 48 of them for a program.
const MOST: usize = isize::MAX as usize >> (usize::BITS / 4);

/// A place for one value.
pub(crate) struct Out<T>(*mut T);

/// Places for several values; none, where the host does not want them.
pub(crate) struct Outs<T> {
    start: *mut T,
    len: usize,
}

/// A struct of the host that results are written into.
pub(crate) struct InOut<T> {
    place: *mut T,
    /// How much of it the host knows.
    size: usize,
    /// What it holds.
    pub(crate) value: T,
}

impl Host {
    /// Text that must be there.
    ///
    /// # Errors
    /// NULL; not UTF-8.
    pub(crate) fn text<'a>(
        &'a self,
        argument: usize,
        name: &'static str,
        text: *const c_char,
    ) -> Outcome<&'a str> {
        check(argument, name, text, 1)?;
        // SAFETY: text ends with NUL, by the rules of the header.
        let text = unsafe { CStr::from_ptr(text) };
        utf8(argument, name, text.to_bytes())
    }

    /// Text that may be NULL or empty.
    ///
    /// # Errors
    /// Not UTF-8.
    pub(crate) fn optional_text<'a>(
        &'a self,
        argument: usize,
        name: &'static str,
        text: *const c_char,
    ) -> Outcome<Option<&'a str>> {
        if text.is_null() {
            return Ok(None);
        }
        Ok(Some(self.text(argument, name, text)?).filter(|text| !text.is_empty()))
    }

    /// Text by its length, which may hold NUL.
    ///
    /// # Errors
    /// NULL with a length; not UTF-8.
    pub(crate) fn sized_text<'a>(
        &'a self,
        argument: usize,
        name: &'static str,
        text: *const c_char,
        len: usize,
    ) -> Outcome<&'a str> {
        utf8(
            argument,
            name,
            self.slice(argument, name, text.cast::<u8>(), len)?,
        )
    }

    /// Several numbers; NULL stands for none of them.
    ///
    /// # Errors
    /// NULL with a length; misaligned; longer than memory.
    pub(crate) fn slice<'a, T: Plain>(
        &'a self,
        argument: usize,
        name: &'static str,
        start: *const T,
        len: usize,
    ) -> Outcome<&'a [T]> {
        if len == 0 {
            return Ok(&[]);
        }
        check(argument, name, start, len)?;
        // SAFETY: aligned, not NULL, valid for `len` by the rules of the header; nobody writes to it during the call.
        Ok(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// Several numbers to be worked on where they are.
    ///
    /// # Errors
    /// As [`Host::slice`].
    ///
    /// # Safety
    /// Nothing else that was read of the host's overlaps them.
    #[allow(
        clippy::mut_from_ref,
        reason = "the memory is the host's; that nobody else sees it is the caller's promise"
    )]
    pub(crate) unsafe fn places<'a, T: Plain>(
        &'a self,
        argument: usize,
        name: &'static str,
        start: *mut T,
        len: usize,
    ) -> Outcome<&'a mut [T]> {
        if len == 0 {
            return Ok(&mut []);
        }
        check(argument, name, start, len)?;
        // SAFETY: aligned, not NULL, valid for `len` by the rules of the header; apart from the rest by the caller's promise.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    /// Several numbers, or nothing where the pointer is NULL.
    ///
    /// # Errors
    /// As [`Host::slice`].
    pub(crate) fn column<'a, T: Plain>(
        &'a self,
        argument: usize,
        name: &'static str,
        start: *const T,
        len: usize,
    ) -> Outcome<Option<&'a [T]>> {
        match start.is_null() {
            true => Ok(None),
            false => self.slice(argument, name, start, len).map(Some),
        }
    }

    /// A struct that the host filled: copied, zeros where its header was older.
    ///
    /// # Errors
    /// NULL; a size that is none; a tail that this version does not know.
    pub(crate) fn options<T: Sized32>(&self, argument: usize, place: *const T) -> Outcome<T> {
        Ok(self.inout(argument, place.cast_mut())?.value)
    }

    /// The same for a struct that may be NULL.
    ///
    /// # Errors
    /// As [`Host::options`].
    pub(crate) fn optional<T: Sized32>(
        &self,
        argument: usize,
        place: *const T,
    ) -> Outcome<Option<T>> {
        match place.is_null() {
            true => Ok(None),
            false => self.options(argument, place).map(Some),
        }
    }

    /// A struct that the host filled, and that results go into.
    ///
    /// # Errors
    /// As [`Host::options`].
    pub(crate) fn inout<T: Sized32>(&self, argument: usize, place: *mut T) -> Outcome<InOut<T>> {
        let size = struct_size(argument, place)?;
        let known = size.min(size_of::<T>());
        // SAFETY: the host's struct is `size` bytes long, by the rules of the header.
        let tail =
            unsafe { std::slice::from_raw_parts(place.cast::<u8>().add(known), size - known) };
        if tail.iter().any(|byte| *byte != 0) {
            let message = format!(
                "{}: a field that this version ({}) does not know is set",
                T::NAME,
                env!("CARGO_PKG_VERSION")
            );
            return Err(Failure::new(HALO_E_UNSUPPORTED, T::NAME, message).argument(argument));
        }
        // SAFETY: zeros are a value of T.
        let mut value: T = unsafe { std::mem::zeroed() };
        // SAFETY: both are at least `known` bytes long, and any bytes are a value of T.
        unsafe {
            (&raw mut value)
                .cast::<u8>()
                .copy_from_nonoverlapping(place.cast::<u8>(), known);
        }
        Ok(InOut { place, size, value })
    }

    /// A struct that results go into and of which only the size is read.
    ///
    /// # Errors
    /// NULL; a size that is none.
    pub(crate) fn result<T: Sized32>(&self, argument: usize, place: *mut T) -> Outcome<InOut<T>> {
        let size = struct_size(argument, place)?;
        // SAFETY: zeros are a value of T.
        let value: T = unsafe { std::mem::zeroed() };
        Ok(InOut { place, size, value })
    }

    /// A place for one result.
    ///
    /// # Errors
    /// NULL, misaligned.
    pub(crate) fn out<T>(
        &self,
        argument: usize,
        name: &'static str,
        place: *mut T,
    ) -> Outcome<Out<T>> {
        check(argument, name, place, 1)?;
        Ok(Out(place))
    }

    /// Places for results; NULL where the host does not want them.
    ///
    /// # Errors
    /// Misaligned; longer than memory.
    pub(crate) fn outs<T: Plain>(
        &self,
        argument: usize,
        name: &'static str,
        start: *mut T,
        len: usize,
    ) -> Outcome<Outs<T>> {
        if start.is_null() {
            return Ok(Outs { start, len: 0 });
        }
        self.required_outs(argument, name, start, len)
    }

    /// Places for results that the call is about.
    ///
    /// # Errors
    /// NULL with a length; misaligned; longer than memory.
    pub(crate) fn required_outs<T: Plain>(
        &self,
        argument: usize,
        name: &'static str,
        start: *mut T,
        len: usize,
    ) -> Outcome<Outs<T>> {
        if len > 0 {
            check(argument, name, start, len)?;
        }
        Ok(Outs { start, len })
    }
}

impl<T> Out<T> {
    pub(crate) fn write(self, value: T) {
        // SAFETY: checked by `Host::out`; valid by the rules of the header.
        unsafe { self.0.write(value) }
    }
}

impl<T: Plain> Outs<T> {
    /// Whether the host wants them.
    pub(crate) fn wanted(&self) -> bool {
        self.len > 0
    }

    /// Writes one value a place; values beyond the places are dropped.
    pub(crate) fn write(&self, values: impl IntoIterator<Item = T>) {
        for (at, value) in values.into_iter().take(self.len).enumerate() {
            // SAFETY: in bounds; checked by `Host::outs`, valid by the rules of the header.
            unsafe { self.start.add(at).write(value) }
        }
    }
}

impl<T: Sized32> InOut<T> {
    /// Writes the value back, as far as the host knows its fields; its struct_size stays.
    pub(crate) fn write(self) {
        let known = self.size.min(size_of::<T>());
        let start = size_of::<u32>();
        // SAFETY: the host's struct is `size` bytes long, and `known` is at least 8.
        unsafe {
            let from = (&raw const self.value).cast::<u8>().add(start);
            self.place
                .cast::<u8>()
                .add(start)
                .copy_from(from, known - start);
        }
    }
}

/// How long the host believes its struct to be.
fn struct_size<T: Sized32>(argument: usize, place: *const T) -> Outcome<usize> {
    check(argument, T::NAME, place, 1)?;
    // SAFETY: not NULL, aligned, and every struct begins with its size.
    let size = unsafe { place.cast::<u32>().read() } as usize;
    if (8..=ABSURD).contains(&size) {
        return Ok(size);
    }
    let message = format!("{}: struct_size = {size} is none: use HALO_INIT", T::NAME);
    Err(Failure::new(HALO_E_ABI, T::NAME, message).argument(argument))
}

/// Not NULL, aligned, and not longer than memory.
fn check<T>(argument: usize, name: &'static str, place: *const T, len: usize) -> Outcome {
    let fail = |code, message: String| Err(Failure::new(code, name, message).argument(argument));
    if place.is_null() {
        return fail(HALO_E_INVALID_ARGUMENT, format!("{name} is NULL"));
    }
    if !place.is_aligned() {
        let align = align_of::<T>();
        return fail(
            HALO_E_LAYOUT,
            format!("{name} is not aligned to {align} bytes"),
        );
    }
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= MOST => Ok(()),
        _ => fail(
            HALO_E_SHAPE,
            format!("{name} would have {len} elements, more than memory holds"),
        ),
    }
}

fn utf8<'a>(argument: usize, name: &'static str, bytes: &'a [u8]) -> Outcome<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("{name} is not UTF-8: {error}");
        Failure::new(HALO_E_FORMAT, name, message).argument(argument)
    })
}
