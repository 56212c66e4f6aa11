//! The library itself: versions, what this build has, the registry.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use serde_json::json;

use crate::experimental;
use crate::failure::Failure;
use crate::guard::{guard, guard_or};
use crate::intake::Sized32;
use crate::pool;
use crate::status::*;

/// Incompatible changes.
pub const HALO_ABI_MAJOR: u32 = 0;
/// Additions since then.
pub const HALO_ABI_MINOR: u32 = 1;
/// Both, as `halo_version_check` compares them.
pub const HALO_ABI_VERSION: u32 = (HALO_ABI_MAJOR << 16) | HALO_ABI_MINOR;

/// The HALO_ABI_VERSION that the library was built with.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub extern "C" fn halo_version_number() -> u32 {
    HALO_ABI_VERSION
}

/// The library's version in words, such as "0.1.0".
///
/// @since 0.1
#[unsafe(no_mangle)]
pub extern "C" fn halo_version_text() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    text(&TEXT, || env!("CARGO_PKG_VERSION").into())
}

/// Fails with HALO_E_ABI unless the majors agree and the header's minor is not the newer. Pass HALO_ABI_VERSION.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_version_check(header: u32, err: *mut halo_error) -> halo_status {
    let body = |_: &_| {
        let (major, minor) = (header >> 16, header & 0xffff);
        if major == HALO_ABI_MAJOR && minor <= HALO_ABI_MINOR {
            return Ok(());
        }
        let message = format!(
            "the program was compiled for version {major}.{minor} of the interface, the library has \
             {HALO_ABI_MAJOR}.{HALO_ABI_MINOR}"
        );
        Err(Failure::new(HALO_E_ABI, "header", message).argument(0))
    };
    // SAFETY: the caller keeps the header's rules.
    unsafe { guard(err, body) }
}

/// JSON: the version and the features of this build.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub extern "C" fn halo_build_describe() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    text(&TEXT, || {
        let features: Vec<&str> = FEATURES
            .iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| *name)
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "abi": [HALO_ABI_MAJOR, HALO_ABI_MINOR],
            "features": features,
        })
        .to_string()
    })
}

/// JSON: this interface, function by function; the text of halo_api.json.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub extern "C" fn halo_api_describe() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    text(&TEXT, || {
        include_str!("../../../include/halo_api.json").into()
    })
}

/// JSON: losses with their parameters (type, default, range, meaning), reference points, advantages.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub extern "C" fn halo_registry_describe() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    text(&TEXT, || {
        let points: Vec<_> = halo_loss::reference_point::NAMES
            .iter()
            .filter_map(|name| halo_loss::Estimator::new(name).ok())
            .map(|point| {
                json!({
                    "name": point.name(),
                    "meaning": point.meaning(),
                    "source": point.source(),
                    "clamps": point.clamps(),
                    "per_row": point.per_row(),
                })
            })
            .collect();
        json!({
            "losses": halo_loss::registry(),
            "reference_points": points,
            "advantages": halo_loss::advantage::NAMES,
        })
        .to_string()
    })
}

/// What a build may have.
const FEATURES: &[(&str, bool)] = &[
    ("head.f32", true),
    ("head.bf16", true),
    ("head.f16", true),
    ("session", cfg!(feature = "session")),
    ("cuda", false),
];

/// 1 if this build has a feature, 0 otherwise, also for one that it does not know: "session", "cuda", "head.f32".
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_feature_has(name: *const c_char) -> i32 {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard_or(0, |host| {
            let name = host.text(0, "name", name).unwrap_or_default();
            i32::from(FEATURES.contains(&(name, true)))
        })
    }
}

/// A function whose type its description says: cast it before the call.
pub type halo_proc = Option<unsafe extern "C" fn()>;

/// An experimental function by its name; NULL for one that this build does not have. Such functions may change or go with any
/// version; their names are never used again.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_proc_find(name: *const c_char) -> halo_proc {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard_or(None, |host| {
            experimental::find(host.text(0, "name", name).unwrap_or_default())
        })
    }
}

/// The name of a status, such as "HALO_E_SHAPE"; "unknown" for a number that is none.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub extern "C" fn halo_status_name(status: halo_status) -> *const c_char {
    let known = NAMES.iter().find(|(code, _)| *code == status);
    known.map_or(c"unknown", |(_, name)| name).as_ptr()
}

/// What all calls share.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_runtime {
    /// sizeof(halo_runtime) as the host compiled it.
    pub struct_size: u32,
    /// Threads of heavy work; 0 = as many as cores. Fixed by the first work.
    pub threads: u32,
}
// SAFETY: numbers without padding, the size first.
unsafe impl Sized32 for halo_runtime {
    const NAME: &'static str = "halo_runtime";
}

/// Sets what all calls share; before the first work.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_runtime_configure(
    options: *const halo_runtime,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let options = host.options(0, options)?;
            pool::configure(options.threads as usize).map_err(|failure| failure.argument(0))
        })
    }
}

/// Text that lives as long as the process; made once.
fn text(place: &'static OnceLock<CString>, make: impl FnOnce() -> String) -> *const c_char {
    place
        .get_or_init(|| CString::new(make()).unwrap_or_default())
        .as_ptr()
}
