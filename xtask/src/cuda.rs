//! `cargo xtask cuda`: the feature `cuda` built for real, on a machine without a GPU.
//!
//! NVIDIA publishes nvcc as Python wheels: they are laid out once, in target/cuda-toolkit or where HALO_CUDA_TOOLKIT says.

mod assembly;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Outcome, cargo, root};

/// What compiling a kernel takes: the compiler, its back end and headers.
const WHEELS: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.*",
    "nvidia-nvvm==13.0.*",
    "nvidia-cuda-crt==13.0.*",
    "nvidia-cuda-runtime==13.0.*",
    "nvidia-cuda-cccl==13.0.*",
];

pub(crate) fn run(_: &[String]) -> Outcome {
    let toolkit = toolkit();
    if let Err(problem) = &toolkit {
        println!(
            "no nvcc, so the kernels are not compiled, only the Rust side is checked and linked: {problem}"
        );
    }
    let bin = toolkit.ok();
    // The kernels' crate is the only one with code of this feature.
    let lints = "clippy -p halo-kernels --features cuda -- -D warnings";
    shell::run(&mut with(bin.as_deref(), lints))?;
    shell::run(&mut with(
        bin.as_deref(),
        "build -p halo-cli --features cuda",
    ))?;
    if let Some(bin) = &bin {
        assembly::check(&bin.join("ptxas"), &target())?;
    }
    starts_anywhere()
}

/// The linked program opens the driver at run time: without one it starts and says what is missing, with one it proves itself.
fn starts_anywhere() -> Outcome {
    let program = target()
        .join("debug")
        .join(format!("halo{}", std::env::consts::EXE_SUFFIX));
    let output = Command::new(program)
        .args(["selftest", "--device", "cuda:0"])
        .output()
        .map_err(|error| format!("halo with feature cuda cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    print!("{}{said}", String::from_utf8_lossy(&output.stdout));
    match output.status.code() {
        Some(0) => Ok(()),
        Some(2) if said.contains("cuda:0") => Ok(()),
        code => Err(format!(
            "halo selftest ended with {code:?} instead of 0, or 2 and a reason"
        )),
    }
}

/// Outputs apart from the others: kernels compiled here never replace those of another build.
fn target() -> PathBuf {
    root().join("target/cuda")
}

fn with(bin: Option<&Path>, arguments: &str) -> Command {
    let mut command = cargo(arguments);
    command.env("CARGO_TARGET_DIR", target());
    if let Some(bin) = bin {
        command
            .env("NVCC", bin.join("nvcc"))
            .env("HALO_REQUIRE_NVCC", "1");
    }
    command
}

/// The folder of nvcc and ptxas.
fn toolkit() -> Result<PathBuf, String> {
    let folder = match std::env::var_os("HALO_CUDA_TOOLKIT") {
        Some(folder) => PathBuf::from(folder),
        None => root().join("target/cuda-toolkit"),
    };
    let venv = folder.join("venv");
    if let Some(bin) = programs(&venv) {
        return Ok(bin);
    }
    println!("laying nvcc out in {}", folder.display());
    quietly(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    quietly(
        Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--retries", "1"])
            .args(["--timeout", "20", "--disable-pip-version-check"])
            .args(WHEELS),
    )?;
    programs(&venv).ok_or_else(|| format!("no nvcc in {} after installing", venv.display()))
}

/// Where the wheels put their programs, if all of them are there.
fn programs(venv: &Path) -> Option<PathBuf> {
    let pythons = venv.join("lib").read_dir().ok()?;
    pythons
        .flatten()
        .map(|python| python.path().join("site-packages/nvidia/cu13/bin"))
        .find(|bin| bin.join("nvcc").is_file() && bin.join("ptxas").is_file())
}

/// Runs without a word; what went wrong is the last line it wrote.
fn quietly(command: &mut Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(format!("{name} failed: {}", last.unwrap_or("no message")))
}
