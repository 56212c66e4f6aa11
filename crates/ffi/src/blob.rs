//! Results of unknown size: text, numbers, saved states.

use std::ffi::c_char;

use crate::failure::Outcome;
use crate::guard::guard_or;
use crate::handle::{Handle, opaque};
use crate::intake::{Host, Out};

/// Bytes that the library made. Look at them, then free them.
pub struct halo_blob(Handle<Blob>);
opaque!(halo_blob, Blob);

/// 16-aligned, and a NUL behind.
pub(crate) struct Blob {
    words: Vec<u128>,
    len: usize,
}

impl Blob {
    pub(crate) fn new(bytes: &[u8]) -> Blob {
        let mut words = vec![0u128; bytes.len() / 16 + 1];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(16)) {
            let mut sixteen = [0; 16];
            sixteen[..chunk.len()].copy_from_slice(chunk);
            *word = u128::from_ne_bytes(sixteen);
        }
        Blob {
            words,
            len: bytes.len(),
        }
    }
}

/// Where a call puts a blob.
pub(crate) type BlobOut = Out<*mut halo_blob>;

impl Host {
    /// The place for a blob, checked.
    pub(crate) fn blob(
        &self,
        argument: usize,
        name: &'static str,
        out: *mut *mut halo_blob,
    ) -> Outcome<BlobOut> {
        self.out(argument, name, out)
    }
}

/// Its bytes, 16-aligned; a NUL follows that *len does not count. They live until the blob is freed. NULL, and *len = 0, for NULL.
///
/// @since 0.1
/// @null len
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_blob_data(blob: *const halo_blob, len: *mut usize) -> *const c_char {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard_or(std::ptr::null(), |host| {
            let blob = host.shared(0, blob);
            if let Ok(out) = host.out(1, "len", len) {
                out.write(blob.as_ref().map_or(0, |blob| blob.len));
            }
            blob.map_or(std::ptr::null(), |blob| blob.words.as_ptr().cast())
        })
    }
}

/// Frees a blob; NULL is nothing to free.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_blob_free(blob: *mut halo_blob) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { guard_or((), |host| host.free(blob)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_aligned_and_end_with_nul() {
        for len in [0, 1, 15, 16, 17, 31, 32] {
            let bytes: Vec<u8> = (1..=len).collect();
            let blob = Blob::new(&bytes);
            let held: Vec<u8> = blob
                .words
                .iter()
                .flat_map(|word| word.to_ne_bytes())
                .collect();
            assert_eq!(blob.words.as_ptr() as usize % 16, 0);
            assert_eq!((&held[..bytes.len()], held[bytes.len()]), (&bytes[..], 0));
        }
    }
}
