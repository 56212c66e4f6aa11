//! `cargo xtask dist`: libhalo as it is released: one archive with headers, the shared and the static library, and what CMake and
//! pkg-config read. `--full` builds it with the built-in models.
//!
//! The archive is then used as its users will: unpacked anywhere, found by CMake and by pkg-config, linked both ways.

mod consumers;
pub(crate) mod link;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::shell::{self, Outcome, cargo, root};
use link::Linked;

/// The stripped shared library without models, in bytes. Of its 1.7 MB Rust's own library is 0.4, the matrix product of the head 0.2
/// (three instruction sets); what makes it grow beyond this has to say why.
const SMALL: u64 = 7 << 18;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if !cfg!(target_os = "linux") {
        return Err("release archives are made for ELF; on this system use cargo build".into());
    }
    let full = arguments.iter().any(|argument| argument == "--full");
    let began = Instant::now();
    let target = host()?;
    let folder = target_folder().join("dist");
    let library = build(&folder, full)?;
    println!("built in {:.0} s", began.elapsed().as_secs_f64());
    let linked = link::make(&library, &folder.join("linked"))?;
    let size = fs::metadata(&linked.shared)
        .map_err(|error| error.to_string())?
        .len();
    println!("libhalo.so: {size} bytes stripped");
    if !full && size > SMALL {
        return Err(format!(
            "{}: {size} bytes are more than {SMALL}",
            linked.shared.display()
        ));
    }
    let kind = if full { "-full" } else { "" };
    let name = format!("halo{kind}-{}-{target}", env!("CARGO_PKG_VERSION"));
    let archive = pack(&linked, &folder, &name)?;
    consumers::run(&archive, &name, &folder)?;
    println!("wrote {}", archive.display());
    Ok(())
}

/// An archive of the development library by the same steps, and its consumers: what the tests can afford.
pub(crate) fn rehearse(linked: &Linked, folder: &Path) -> Outcome {
    let archive = pack(linked, folder, "halo-rehearsal")?;
    consumers::run(&archive, "halo-rehearsal", folder)
}

/// The static library that everything else is made of; no path of this machine stays in it.
fn build(folder: &Path, full: bool) -> Result<PathBuf, String> {
    let mut command = cargo("rustc --profile dist -p halo-ffi --crate-type staticlib");
    if !full {
        command.arg("--no-default-features");
    }
    command.args(["--", "--print", "native-static-libs"]);
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=halo", root().display())];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let output = command
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("the static library cannot be built\n{said}"));
    }
    let native = said
        .lines()
        .find_map(|line| line.split_once("native-static-libs: "))
        .map(|(_, libraries)| libraries.trim());
    let stated = tree::native_flags();
    match native {
        Some(native) if native == stated => Ok(folder.join("libhalo.a")),
        other => Err(format!(
            "rustc wants {other:?} beside the static library, the packages state {stated:?}"
        )),
    }
}

/// The archive, and the debugging information beside it.
fn pack(linked: &Linked, folder: &Path, name: &str) -> Result<PathBuf, String> {
    let problem = |error: std::io::Error| format!("{}: {error}", folder.display());
    let place = folder.join(name);
    tree::lay(linked, &place)?;
    let archive = folder.join(format!("{name}.tar.gz"));
    shell::run(
        Command::new("tar")
            .args([
                "--sort=name",
                "--owner=0",
                "--group=0",
                "--numeric-owner",
                "-czf",
            ])
            .arg(&archive)
            .arg("-C")
            .arg(folder)
            .arg(name),
    )?;
    // Debuggers look for it by the name that the library keeps of it.
    let debug = linked.debug.file_name().unwrap_or_default();
    fs::copy(&linked.debug, folder.join(debug)).map_err(problem)?;
    Ok(archive)
}

/// Where cargo builds.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from)
}

/// The machine that rustc builds for by itself.
fn host() -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| format!("rustc cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_string)
        .ok_or("rustc -vV does not say its host".into())
}
