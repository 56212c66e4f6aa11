//! `cargo xtask emulated-gpu`: the GPU's kernels and their launches, and whole runs of training, on the processor.

use std::path::Path;
use std::process::Command;

use crate::shell::{self, Outcome, cargo, root};

const TESTS: &str = "test -p halo-kernels --features emulator --test gpu";

const RUNS: &str = "test -p halo-core --features emulator --test emulated_gpu --test emulated_runs";

/// The kernels and the engine as they are, then the kernels under the address and undefined-behaviour sanitizers.
pub(crate) fn run(_: &[String]) -> Outcome {
    shell::run(&mut cargo(TESTS))?;
    shell::run(&mut cargo(RUNS))?;
    let Some(library) = sanitizer() else {
        println!("no libasan beside g++: the emulated kernels are not run under the sanitizers");
        return Ok(());
    };
    let target = root().join("target/sanitized");
    // Built first, so that only the tests themselves run with the sanitizer in front.
    let build = |arguments: &str| {
        let mut command = cargo(arguments);
        command
            .env("HALO_EMULATOR_SANITIZE", "1")
            .env("CARGO_TARGET_DIR", &target);
        command
    };
    shell::run(&mut build(&format!("{TESTS} --no-run")))?;
    // The test's program is not linked with the sanitizer's own start-up code: it must be loaded before everything else. Only
    // there: cargo and the compilers leak on purpose.
    let runner = format!("env LD_PRELOAD={library} ASAN_OPTIONS=detect_leaks=0");
    shell::run(build(TESTS).args(["--config", &format!("target.'cfg(unix)'.runner='{runner}'")]))
}

/// The shared library of g++'s address sanitizer.
fn sanitizer() -> Option<String> {
    let output = Command::new("g++")
        .arg("-print-file-name=libasan.so")
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_string();
    // The compiler answers with the bare name where it has none.
    (cfg!(target_os = "linux") && Path::new(&path).is_absolute()).then_some(path)
}
