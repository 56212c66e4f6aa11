//! C: the header in every dialect, and programs that only the header knows.

mod session;
mod trainer;

use std::process::Command;

use super::{Library, output, there};
use crate::shell::{self, Outcome, root};

const STRICT: &[&str] = &["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

pub(super) fn run(library: &Library) -> Outcome {
    if !there("cc") {
        println!("  left out: no C compiler (cc)");
        return Ok(());
    }
    header(library)?;
    // Says itself whether its gradients are the finite differences.
    program(library, "head")?;
    let said = program(library, "kto_loss")?;
    // The mean of the mismatched log-ratios 1, 0.5, -1 and 1.5.
    if !said.starts_with("z0 = 0.5\n") {
        return Err(format!("kto_loss said\n{said}"));
    }
    trainer::run(library)?;
    session::run(library)
}

/// Compiles bindings/c/NAME.c, runs it, and gives what it said.
fn program(library: &Library, name: &str) -> Result<String, String> {
    let flags = [&["-std=c99", "-g"], STRICT].concat();
    let source = format!("bindings/c/{name}.c");
    let program = library.compile("cc", &flags, &[&source], name)?;
    let said = output(&mut Command::new(program))?;
    print!("{said}");
    Ok(said)
}

/// The header alone, twice, as C and as C++.
fn header(library: &Library) -> Outcome {
    let include = library.folder.join("include");
    for (compiler, language, dialects) in [
        ("cc", "c", &["c99", "c11", "c17", "c2x"][..]),
        ("c++", "c++", &["c++17", "c++20"][..]),
    ] {
        if !there(compiler) {
            println!("  left out: no {compiler}");
            continue;
        }
        for dialect in dialects {
            let mut command = Command::new(compiler);
            command
                .current_dir(root())
                .args(STRICT)
                .args([
                    "-x",
                    language,
                    &format!("-std={dialect}"),
                    "-fsyntax-only",
                    "-I",
                ])
                .arg(&include)
                .arg("bindings/c/header_twice.h");
            shell::run(&mut command)?;
        }
    }
    Ok(())
}
