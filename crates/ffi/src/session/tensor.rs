//! A session's weights as tensors that the host takes over.

use std::ffi::c_char;

use super::{among, halo_session};
use crate::guard::guard;
use crate::intake::{DLManagedTensorVersioned, owned_tensor};
use crate::status::*;

/// A copy of one parameter, f32 on the CPU, by the name that its checkpoint has (halo_session_describe lists the trained ones). The
/// receiver calls the tensor's deleter; frameworks that import DLPack do so.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_tensor_export(
    session: *const halo_session,
    name: *const c_char,
    out: *mut *mut DLManagedTensorVersioned,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let session = among(host, session)?;
            let name = host.text(1, "name", name)?;
            let out = host.out(2, "out", out)?;
            let (shape, values) = session.tensor(name)?;
            out.write(owned_tensor(&shape, values));
            Ok(())
        })
    }
}
