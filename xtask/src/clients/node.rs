//! Node: the package of bindings/node with its one dependency, and its tests.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Library, output, there, vectors};
use crate::shell::{self, Outcome, root};

pub(super) fn run(library: &Library) -> Outcome {
    if !there("node") || !there("npm") {
        println!("  left out: no Node (node, npm)");
        return Ok(());
    }
    let vectors = vectors::write(&library.folder)?;
    // A copy, so that the working tree keeps no modules of others.
    let package = library.folder.join("node");
    let from = root().join("bindings/node");
    copy(&from, &package)?;
    for folder in ["src", "test"] {
        // What is no longer there must not be tested.
        let _ = fs::remove_dir_all(package.join(folder));
        copy(&from.join(folder), &package.join(folder))?;
    }
    let mut install = Command::new("npm");
    install
        .current_dir(&package)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    if let Err(problem) = output(&mut install) {
        println!("  left out: koffi cannot be installed\n{problem}");
        return Ok(());
    }
    shell::run(
        Command::new("node")
            .current_dir(&package)
            .args(["--test", "--test-reporter=dot"])
            .env("HALO_LIBRARY", library.folder.join("lib/libhalo.so"))
            .env("HALO_VECTORS", vectors),
    )
}

/// The files of one folder.
fn copy(from: &Path, to: &Path) -> Outcome {
    let problem = |error: std::io::Error| format!("{}: {error}", to.display());
    fs::create_dir_all(to).map_err(problem)?;
    for entry in fs::read_dir(from).map_err(problem)?.flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).map_err(problem)?;
        }
    }
    Ok(())
}
