//! The archive as its users meet it: unpacked in a folder with a blank in its name, found by CMake and by pkg-config, linked both
//! ways.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::clients::{output, there};
use crate::shell::{Outcome, root};

/// What the program prints first: the mean of its mismatched log-ratios.
const EXPECTED: &str = "z0 = 0.5\n";

const PROGRAM: &str = "bindings/c/kto_loss.c";

pub(super) fn run(archive: &Path, name: &str, folder: &Path) -> Outcome {
    let place = folder.join("a consumer");
    let problem = |error: std::io::Error| format!("{}: {error}", place.display());
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).map_err(problem)?;
    output(
        Command::new("tar")
            .arg("-xzf")
            .arg(archive)
            .arg("-C")
            .arg(&place),
    )?;
    let unpacked = place.join(name);
    let lib = unpacked.join("lib");
    for linking in ["shared", "static"] {
        if linking == "static" {
            // -lhalo prefers a shared library, also where a static one is meant.
            for entry in fs::read_dir(&lib).map_err(problem)?.flatten() {
                if entry.file_name().to_string_lossy().contains(".so") {
                    fs::rename(entry.path(), place.join(entry.file_name())).map_err(problem)?;
                }
            }
        }
        match there("cmake") {
            true => with_cmake(&unpacked, &place, linking)?,
            false => println!("  left out: no cmake"),
        }
        match there("pkg-config") {
            true => with_pkg_config(&unpacked, &place, linking)?,
            false => println!("  left out: no pkg-config"),
        }
    }
    Ok(())
}

fn with_cmake(unpacked: &Path, place: &Path, linking: &str) -> Outcome {
    let build = place.join(format!("cmake {linking}"));
    let mut prefix = std::ffi::OsString::from("-DCMAKE_PREFIX_PATH=");
    prefix.push(unpacked);
    output(
        Command::new("cmake")
            .arg("-S")
            .arg(root().join("crates/ffi/tests/consumer"))
            .arg("-B")
            .arg(&build)
            .arg(format!("-DLINKING={linking}"))
            .arg(format!("-DVERSION={}", env!("CARGO_PKG_VERSION")))
            .arg(prefix),
    )?;
    output(Command::new("cmake").arg("--build").arg(&build))?;
    said(
        &build.join("kto_loss"),
        unpacked,
        false,
        &format!("CMake, {linking}"),
    )
}

fn with_pkg_config(unpacked: &Path, place: &Path, linking: &str) -> Outcome {
    let program = place.join(format!("pkg-config {linking}"));
    // Its answer quotes blanks for a shell, so a shell reads it.
    let static_flag = if linking == "static" { "--static" } else { "" };
    let script = format!(
        "flags=$(pkg-config {static_flag} --cflags --libs halo) && eval \"cc -std=c99 \\\"\\$1\\\" -o \\\"\\$2\\\" $flags\" && pkg-config --exact-version={} halo",
        env!("CARGO_PKG_VERSION")
    );
    output(
        Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(root().join(PROGRAM))
            .arg(&program)
            .env("PKG_CONFIG_PATH", unpacked.join("lib/pkgconfig")),
    )?;
    said(
        &program,
        unpacked,
        linking == "shared",
        &format!("pkg-config, {linking}"),
    )
}

/// Runs the program; the loader finds the library by itself only where the build says where it is.
fn said(program: &Path, unpacked: &Path, told: bool, how: &str) -> Outcome {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    if told {
        command.env("LD_LIBRARY_PATH", unpacked.join("lib"));
    }
    match output(&mut command)? {
        said if said.starts_with(EXPECTED) => {
            println!("  {how}: the archive's program says {}", EXPECTED.trim());
            Ok(())
        }
        said => Err(format!("{how}: kto_loss said\n{said}")),
    }
}
