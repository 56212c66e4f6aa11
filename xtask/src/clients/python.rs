//! Python: the package installed from bindings/python into a fresh environment, its tests, and the four lines of its page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Library, output, there, vectors};
use crate::shell::{self, Outcome, root};

/// Names a Python that can import torch; its tests of halo.torch run there.
const OTHER: &str = "HALO_PYTHON";

pub(super) fn run(library: &Library) -> Outcome {
    if !there("python3") {
        println!("  left out: no Python (python3)");
        return Ok(());
    }
    let vectors = vectors::write(&library.folder)?;
    let environment = root().join("target/python-venv");
    let python = environment.join("bin/python");
    if !python.exists() {
        shell::run(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment),
        )?;
    }
    let pip = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command
            .current_dir(root())
            .args(["-m", "pip", "install", "--quiet"])
            .args(arguments)
            .env("HALO_LIBRARY", library.folder.join("lib/libhalo.so"));
        output(&mut command)
    };
    if let Err(problem) = pip(&["cffi", "numpy", "setuptools>=77"]) {
        println!("  left out: cffi, numpy and setuptools cannot be installed\n{problem}");
        return Ok(());
    }
    // Nothing else is to be fetched: what builds the package is there.
    pip(&[
        "--no-build-isolation",
        "--force-reinstall",
        "--no-deps",
        "./bindings/python",
    ])?;
    unit_tests(&python, &[], &vectors)?;
    print!(
        "{}",
        output(Command::new(&python).arg(root().join("bindings/python/examples/kto.py")))?
    );
    with_torch(&python, library, &vectors)
}

/// The tests of halo.torch need a Python that has torch: the environment's, or another that borrows the installed package.
fn with_torch(python: &Path, library: &Library, vectors: &Path) -> Outcome {
    let other = std::env::var_os(OTHER).map(PathBuf::from);
    let has_torch = |python: &Path| {
        Command::new(python)
            .args(["-c", "import torch, cffi"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    match other {
        Some(other) if has_torch(&other) => {
            let package = fs::canonicalize(root().join("bindings/python"))
                .map_err(|error| error.to_string())?;
            let from = [
                ("PYTHONPATH", package),
                ("HALO_LIBRARY", library.folder.join("lib/libhalo.so")),
            ];
            unit_tests(&other, &from, vectors)
        }
        Some(other) => Err(format!(
            "{OTHER} = {} cannot import torch and cffi",
            other.display()
        )),
        None if has_torch(python) => Ok(()),
        None => {
            println!(
                "  left out: the tests of halo.torch; name a Python with torch and cffi in {OTHER}"
            );
            Ok(())
        }
    }
}

fn unit_tests(python: &Path, variables: &[(&str, PathBuf)], vectors: &Path) -> Outcome {
    let mut command = Command::new(python);
    command
        .current_dir(root().join("bindings/python/tests"))
        .args(["-m", "unittest", "--quiet"])
        .env("HALO_VECTORS", vectors)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    for (name, value) in variables {
        command.env(name, value);
    }
    shell::run(&mut command)
}
