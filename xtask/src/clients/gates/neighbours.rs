//! The released library beside others: a program of a newer version, another library made with Rust.

use std::fs;
use std::process::Command;

use super::super::soname;
use super::{Bench, programs::quiet, source};
use crate::shell::{self, Outcome, root};

/// A program that needs a newer version is refused when it is loaded, not when it calls.
pub(super) fn new_client(bench: &Bench) -> Outcome {
    let newer = bench.folder.join("newer");
    let problem = |error: std::io::Error| format!("{}: {error}", newer.display());
    fs::create_dir_all(&newer).map_err(problem)?;
    let map = newer.join("halo.map");
    fs::write(
        &map,
        "HALO_9.9 {\n  global: halo_future_try;\n  local: *;\n};\n",
    )
    .map_err(problem)?;
    let (library, program) = (newer.join(soname()), bench.folder.join("new_client"));
    shell::run(
        Command::new("cc")
            .current_dir(root())
            .args(["-fPIC", "-shared", &format!("-Wl,-soname,{}", soname())])
            .arg(format!("-Wl,--version-script={}", map.display()))
            .args([&source("future.c"), "-o"])
            .arg(&library),
    )?;
    shell::run(
        Command::new("cc")
            .current_dir(root())
            .arg(source("new_client.c"))
            .arg(&library)
            .arg("-o")
            .arg(&program),
    )?;
    let with = |folder: &std::path::Path| {
        Command::new(&program)
            .env("LD_LIBRARY_PATH", folder)
            .output()
    };
    let there = with(&newer).map_err(problem)?;
    if !there.status.success() {
        return Err("the new client does not run with the new library".into());
    }
    let folder = bench.linked.shared.parent().unwrap_or(&bench.folder);
    let refused = with(folder).map_err(problem)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    match said.contains("version `HALO_9.9' not found") && refused.stdout.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "a new client on today's library: {}\n{said}",
            refused.status
        )),
    }
}

/// Two static libraries made with Rust in one program; without our object's hidden symbols they would clash.
pub(super) fn two_libraries(bench: &Bench) -> Outcome {
    let other = bench.folder.join("libother.a");
    shell::run(
        Command::new("rustc")
            .current_dir(root())
            .args([
                "--edition=2024",
                "-Copt-level=2",
                "-Clto=fat",
                "-Cpanic=unwind",
                &source("other.rs"),
                "-o",
            ])
            .arg(&other),
    )?;
    let program = bench.folder.join("two_libraries");
    let sources = ["two_libraries.c", "gate.c", "fixture.c"].map(source);
    let link = |halo: &std::path::Path| {
        let mut command = Command::new("cc");
        command
            .current_dir(root())
            .args(["-std=c99", "-g", "-pthread", "-I"])
            .arg(bench.library.folder.join("include"))
            .args(&sources)
            .args([halo, &other])
            .args([
                "-lgcc_s",
                "-lutil",
                "-lrt",
                "-lpthread",
                "-lm",
                "-ldl",
                "-lc",
                "-o",
            ])
            .arg(&program);
        command
    };
    shell::run(&mut link(&bench.linked.archive))?;
    quiet(&mut Command::new(&program))
}
