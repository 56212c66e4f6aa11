//! Compiles the GPU's kernels: by nvcc to PTX (feature `cuda`), and as C++ for the emulated GPU (feature `emulator`).
//!
//! Both compile `src/gpu/kernels.cu`, which includes all the others, once for each T.
#![expect(
    clippy::print_stdout,
    reason = "cargo reads what a build script prints"
)]

#[cfg(feature = "emulator")]
mod emulator;
mod nvcc;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The element types: the suffix of the kernels' names and the macro that chooses it.
const TYPES: [(&str, &str); 2] = [("f32", "HALO_F32"), ("bf16", "HALO_BF16")];

fn main() -> ExitCode {
    println!("cargo::rustc-check-cfg=cfg(halo_sanitize)");
    watch(Path::new("build"), &["rs"]);
    watch(Path::new("src"), &["cu", "cuh", "h"]);
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            for line in problem.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    if cfg!(feature = "cuda") {
        nvcc::compile(&out)?;
    }
    #[cfg(feature = "emulator")]
    emulator::compile(&out)?;
    Ok(())
}

/// Builds again when one of these files changes. A new one is included by one that is here already.
fn watch(folder: &Path, endings: &[&str]) {
    let Ok(entries) = folder.read_dir() else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ending = path.extension().unwrap_or_default();
        if path.is_dir() {
            watch(&path, endings);
        } else if endings.iter().any(|known| ending == *known) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
}
