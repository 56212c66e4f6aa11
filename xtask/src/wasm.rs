//! `cargo xtask wasm`: the page in a browser, `web/dist/inspector.html`, one file that needs no server. With `--check` everything that
//! must hold of it: bits, sizes, types, lints, and the page itself in a browser, where there is one.
//!
//! Needs node, and npm's registry once. The target comes through rustup; without it, Debian's `rust-web-src` and `-Zbuild-std` build
//! the same (RUSTC_BOOTSTRAP=1, linker `rust-lld`).

mod lints;
mod sizes;
mod vectors;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::shell::{self, Outcome, cargo, root};

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the page; checks it if asked.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err("cargo xtask wasm [--check]".into()),
    };
    if !answers("node") || !answers("npm") {
        println!("no node and npm here: the page is neither built nor tested");
        return Ok(());
    }
    module()?;
    packages()?;
    shell::run(&mut node("build.mjs"))?;
    if !check {
        println!("wrote web/dist/inspector.html");
        return Ok(());
    }
    sizes::check()?;
    lints::check()?;
    vectors::write(&root().join("target/wasm-vectors.json"))?;
    shell::run(web("npm").args(["run", "--silent", "types"]))?;
    shell::run(node("--test").arg("test/"))
}

/// The module, and JavaScript and TypeScript beside it, in `web/generated`.
fn module() -> Outcome {
    target()?;
    // the same bytes wherever the repository and cargo's folder lie
    let home = std::env::var("CARGO_HOME").unwrap_or_default();
    let flags = [
        format!("--remap-path-prefix={}=.", root().display()),
        format!("--remap-path-prefix={home}=cargo"),
    ];
    let flags = &flags[..if home.is_empty() { 1 } else { 2 }];
    shell::run(
        cargo("build --quiet --package halo-wasm --profile wasm --target")
            .arg(TARGET)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")),
    )?;
    let module = root().join(format!("target/{TARGET}/wasm/halo_wasm.wasm"));
    let mut bindgen = cargo("run --quiet --package xtask --features wasm --bin bindgen --");
    shell::run(bindgen.arg(module).arg(root().join("web/generated")))
}

/// Lays the target out where rustup has not got it yet; asking again costs a few milliseconds.
fn target() -> Outcome {
    match answers("rustup") {
        true => shell::run(
            Command::new("rustup")
                .args(["target", "add", TARGET])
                .current_dir(root())
                .stderr(Stdio::null()),
        )
        .map_err(|problem| format!("{problem}\n(is there a network, or the target already?)")),
        false => Ok(()),
    }
}

/// npm's packages, as the lockfile names them.
fn packages() -> Outcome {
    let (lock, laid) = (
        root().join("web/package-lock.json"),
        root().join("web/node_modules/.package-lock.json"),
    );
    let time = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    match (time(&lock), time(&laid)) {
        (Some(lock), Some(laid)) if laid >= lock => Ok(()),
        _ => shell::run(web("npm").args(["ci", "--silent", "--no-audit", "--no-fund"])),
    }
}

fn web(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root().join("web"));
    command
}

fn node(script: &str) -> Command {
    let mut command = web("node");
    command.arg(script);
    command
}

fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
