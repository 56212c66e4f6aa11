//! Programs of C that call the library and judge its answers: as they are, under sanitizers, under valgrind, under a shim.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::super::{output, there};
use super::{Bench, arguments as bad, source, text};
use crate::header::{description, items};
use crate::shell::{self, Outcome, root};

const STRICT: &[&str] = &["-std=c99", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"];

/// The address and undefined-behaviour sanitizers, in the client only: the library is the ordinary one.
const SANITIZERS: &[&str] = &[
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
];

/// A C compiler says where the fields lie.
pub(super) fn layout(bench: &Bench) -> Outcome {
    let api = description()?;
    let mut text = String::from(
        "/* Generated from halo_api.json. */\n#include <stdio.h>\n#include \"halo.h\"\nint main(void) {\n",
    );
    for record in items::list(&api, "structs") {
        let name = items::word(record, "name");
        let _ = writeln!(text, "  printf(\"{name} %zu\\n\", sizeof({name}));");
        for field in items::list(record, "fields") {
            let field = items::word(field, "name");
            let _ = writeln!(
                text,
                "  printf(\"{name}.{field} %zu %zu\\n\", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));"
            );
        }
    }
    let file = bench.write("layout.c", &(text + "  return 0;\n}\n"))?;
    let program = bench
        .library
        .compile("cc", STRICT, &[&file], "gate_layout")?;
    let file = root().join("crates/ffi/abi/layout.lp64");
    let promised =
        std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    match output(&mut Command::new(program))? {
        said if said == promised => Ok(()),
        said => Err(format!("{} says\n{promised}C says\n{said}", file.display())),
    }
}

/// All functions with all that can be wrong; then what only one function knows.
pub(super) fn arguments(bench: &Bench) -> Outcome {
    quiet(&mut Command::new(compile_arguments(
        bench,
        &[],
        "gate_arguments",
    )?))?;
    quiet(&mut Command::new(compile(
        bench,
        "special.c",
        &[],
        "gate_special",
    )?))?;
    // What was freed is recognised by debug builds only, and only while the memory is not given to somebody else.
    quiet(&mut Command::new(compile(
        bench,
        "freed.c",
        &[],
        "gate_freed",
    )?))
}

/// Reads no environment, installs no handler, prints nothing, ends nothing; goes on in a forked child.
pub(super) fn manners(bench: &Bench) -> Outcome {
    let shim = bench.folder.join("shim.so");
    let mut command = Command::new("cc");
    command
        .current_dir(root())
        .args(["-std=c99", "-O1", "-fPIC", "-shared", "-fno-builtin", "-o"]);
    shell::run(command.arg(&shim).args([&source("shim.c"), "-ldl"]))?;
    let manners = compile(bench, "manners.c", &[], "gate_manners")?;
    let watched = |program: &Path| {
        let mut command = Command::new(program);
        command.env("LD_PRELOAD", &shim);
        command
    };
    let seen = watched(&manners)
        .arg("spoil")
        .output()
        .map_err(|error| error.to_string())?;
    if !String::from_utf8_lossy(&seen.stderr).contains("getenv(HOME)") {
        return Err("the shim does not see a call of getenv".into());
    }
    quiet(&mut watched(&manners))?;
    silent(&mut watched(
        &bench.library.folder.join("bin/gate_arguments"),
    ))?;
    Ok(())
}

/// The same programs as sanitised clients of the ordinary library: what leaks inside it is found, too.
pub(super) fn sanitized(bench: &Bench) -> Outcome {
    let probe = bench.write("probe.c", "int main(void) { return 0; }\n")?;
    let flags = [STRICT, SANITIZERS].concat();
    if bench
        .library
        .compile("cc", &flags, &[&probe], "gate_probe")
        .is_err()
    {
        println!("  left out: this C compiler has no sanitizers");
        return Ok(());
    }
    for program in [
        compile_arguments(bench, SANITIZERS, "gate_arguments_sanitized")?,
        compile(bench, "special.c", SANITIZERS, "gate_special_sanitized")?,
        bench.library.compile(
            "cc",
            &flags,
            &["bindings/c/kto_loss.c"],
            "kto_loss_sanitized",
        )?,
    ] {
        let mut command = Command::new(program);
        command
            .env("ASAN_OPTIONS", "detect_leaks=1")
            .env("UBSAN_OPTIONS", "print_stacktrace=1");
        silent(&mut command)?;
    }
    Ok(())
}

/// Every access of the library itself, and what it leaves behind.
pub(super) fn checked(bench: &Bench) -> Outcome {
    if !there("valgrind") {
        println!("  left out: no valgrind");
        return Ok(());
    }
    for program in ["gate_special", "gate_arguments"] {
        let mut command = Command::new("valgrind");
        command
            .args([
                "--quiet",
                "--error-exitcode=9",
                "--leak-check=full",
                "--errors-for-leak-kinds=definite,indirect",
            ])
            .arg("--show-leak-kinds=definite,indirect")
            .arg(bench.library.folder.join("bin").join(program));
        silent(&mut command)?;
    }
    Ok(())
}

pub(super) fn old_client(bench: &Bench) -> Outcome {
    let program =
        bench
            .library
            .compile("cc", STRICT, &[&source("old_client.c")], "gate_old_client")?;
    quiet(&mut Command::new(program))
}

/// Also the released library, which is another file with other flags.
pub(super) fn unloading(bench: &Bench) -> Outcome {
    let program = bench.folder.join("unload");
    let mut command = Command::new("cc");
    command
        .current_dir(root())
        .args(STRICT)
        .arg("-I")
        .arg(bench.library.folder.join("include"))
        .args([&source("unload.c"), "-ldl", "-o"]);
    shell::run(command.arg(&program))?;
    for library in [
        &bench.library.folder.join("lib/libhalo.so"),
        &bench.linked.shared,
    ] {
        quiet(Command::new(&program).arg(library))?;
    }
    Ok(())
}

/// A program of the harness, its fixture and one file.
fn compile(
    bench: &Bench,
    file: &str,
    flags: &[&str],
    name: &str,
) -> Result<std::path::PathBuf, String> {
    with_harness(bench, &source(file), flags, name)
}

fn compile_arguments(
    bench: &Bench,
    flags: &[&str],
    name: &str,
) -> Result<std::path::PathBuf, String> {
    let file = bench.write(
        "arguments.c",
        &bad::program(&description()?, &text("samples.h")?),
    )?;
    with_harness(bench, &file, flags, name)
}

fn with_harness(
    bench: &Bench,
    file: &str,
    flags: &[&str],
    name: &str,
) -> Result<std::path::PathBuf, String> {
    let include = format!("-I{}", super::SOURCES);
    let flags = [STRICT, flags, &[&include]].concat();
    let sources = [file, &source("gate.c"), &source("fixture.c")];
    bench.library.compile("cc", &flags, &sources, name)
}

/// Runs to success without a word on stderr: that is the host's. What it says goes to the reader.
pub(super) fn quiet(command: &mut Command) -> Outcome {
    let said = silent(command)?;
    for line in said.lines() {
        println!("  {line}");
    }
    Ok(())
}

/// The same for a program whose words are known from an earlier run.
fn silent(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    let wrong = String::from_utf8_lossy(&output.stderr);
    match output.status.success() && wrong.is_empty() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{name}: {}\n{wrong}", output.status)),
    }
}
