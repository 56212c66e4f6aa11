//! The kernels as PTX for compute capability 8.0, which every newer device's driver translates for itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::TYPES;

/// Set to 1: no nvcc is an error, not a warning.
const REQUIRE: &str = "HALO_REQUIRE_NVCC";

/// Writes kernels_f32.ptx and kernels_bf16.ptx, empty ones where there is no nvcc.
pub(crate) fn compile(out: &Path) -> Result<(), String> {
    for name in [
        REQUIRE,
        "NVCC",
        "PATH",
        "CUDA_HOME",
        "CUDA_PATH",
        "NVCC_CCBIN",
    ] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let nvcc = find();
    if nvcc.is_none() {
        let what = "no nvcc: looked at $NVCC, on PATH, in $CUDA_HOME/bin and $CUDA_PATH/bin";
        if std::env::var_os(REQUIRE).is_some_and(|value| value == "1") {
            return Err(format!("{what}, and {REQUIRE}=1 asks for it"));
        }
        println!(
            "cargo::warning={what}. This build knows CUDA devices but has no kernels for them: `cargo xtask cuda` lays nvcc out"
        );
    }
    for (suffix, macro_name) in TYPES {
        let ptx = out.join(format!("kernels_{suffix}.ptx"));
        match &nvcc {
            Some(nvcc) => run(nvcc, macro_name, &ptx)?,
            None => fs::write(&ptx, "").map_err(|error| format!("{}: {error}", ptx.display()))?,
        }
    }
    Ok(())
}

fn find() -> Option<PathBuf> {
    let program = format!("nvcc{}", std::env::consts::EXE_SUFFIX);
    let named = std::env::var_os("NVCC").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let homes = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(std::env::var_os)
        .map(|home| Path::new(&home).join("bin"));
    let found = std::env::split_paths(&path)
        .chain(homes)
        .map(|folder| folder.join(&program))
        .find(|candidate| candidate.is_file());
    named.or(found)
}

fn run(nvcc: &Path, macro_name: &str, ptx: &Path) -> Result<(), String> {
    let mut command = Command::new(nvcc);
    // Not --use_fast_math: it flushes denormals and cuts divisions. Lines are for profilers.
    command
        .args(["-ptx", "-arch=compute_80", "-std=c++17", "-O3", "-lineinfo"])
        .arg(format!("-D{macro_name}"))
        .arg("-o")
        .args([ptx, Path::new("src/gpu/kernels.cu")]);
    let output = command
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", nvcc.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("nvcc with -D{macro_name} failed:\n{said}"));
    }
    for line in said.lines().filter(|line| line.contains("warning")) {
        println!("cargo::warning={line}");
    }
    shorten(ptx)
}

/// Sources by their place in the package: a binary says nothing of the machine that built it.
fn shorten(ptx: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", ptx.display());
    let text = fs::read_to_string(ptx).map_err(failed)?;
    let here = std::env::current_dir().map_err(failed)?;
    let text = text
        .lines()
        .map(|line| match line.trim_start().starts_with(".file") {
            true => shorten_line(line, &here),
            false => line.to_string(),
        })
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(ptx, text + "\n").map_err(failed)
}

/// `.file 1 "/where/it/lies/src/rms_norm.cu"`: outside the package only the name of the file stays.
fn shorten_line(line: &str, here: &Path) -> String {
    let Some((before, rest)) = line.split_once('"') else {
        return line.to_string();
    };
    let Some((path, after)) = rest.split_once('"') else {
        return line.to_string();
    };
    let path = Path::new(path);
    let short = match path.strip_prefix(here) {
        Ok(inside) => inside,
        Err(_) if path.is_absolute() => path.file_name().map_or(path, Path::new),
        Err(_) => path,
    };
    format!("{before}\"{}\"{after}", short.display())
}
