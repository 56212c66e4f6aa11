//! What an archive holds: include/, lib/ with what pkg-config and CMake read, the licences. No path in it is absolute.

use std::fs;
use std::path::Path;

use super::link::Linked;
use crate::clients::{copy, soname};
use crate::shell::{Outcome, root};

/// What the static library needs beside it, in rustc's order; compared with what rustc says.
const NATIVE: &[&str] = &["gcc_s", "util", "rt", "pthread", "m", "dl", "c"];

/// As a linker reads it.
pub(super) fn native_flags() -> String {
    let flags: Vec<String> = NATIVE
        .iter()
        .map(|library| format!("-l{library}"))
        .collect();
    flags.join(" ")
}

/// Lays the files out in `place`, which is made anew.
pub(super) fn lay(linked: &Linked, place: &Path) -> Outcome {
    let problem = |error: std::io::Error| format!("{}: {error}", place.display());
    let _ = fs::remove_dir_all(place);
    copy(&root().join("include"), &place.join("include")).map_err(problem)?;
    let lib = place.join("lib");
    for folder in ["pkgconfig", "cmake/halo"] {
        fs::create_dir_all(lib.join(folder)).map_err(problem)?;
    }
    fs::copy(&linked.archive, lib.join("libhalo.a")).map_err(problem)?;
    fs::copy(&linked.shared, lib.join(soname())).map_err(problem)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(soname(), lib.join("libhalo.so")).map_err(problem)?;
    for (template, to) in [
        ("halo.pc", "pkgconfig/halo.pc"),
        ("halo-config.cmake", "cmake/halo/halo-config.cmake"),
        (
            "halo-config-version.cmake",
            "cmake/halo/halo-config-version.cmake",
        ),
    ] {
        let from = root().join("crates/ffi/package").join(template);
        let text =
            fs::read_to_string(&from).map_err(|error| format!("{}: {error}", from.display()))?;
        fs::write(lib.join(to), filled(&text)).map_err(problem)?;
    }
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(root().join(licence), place.join(licence)).map_err(problem)?;
    }
    Ok(())
}

/// The version and the libraries of this build.
fn filled(text: &str) -> String {
    let cmake = NATIVE
        .iter()
        .filter(|library| !["pthread", "c"].contains(library));
    text.replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@SONAME@", &soname())
        .replace("@NATIVE_FLAGS@", &native_flags())
        .replace(
            "@NATIVE_LIBRARIES@",
            &cmake.copied().collect::<Vec<_>>().join(";"),
        )
}
