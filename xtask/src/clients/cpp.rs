//! C++: halo.hpp in every dialect, with and without exceptions, and with PyTorch's C++ library.

mod libtorch;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Library, output, ranks, there};
use crate::shell::{Outcome, root};

const STRICT: &[&str] = &["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
const COMPILERS: &[&str] = &["g++", "clang++"];
/// The compiler of an MPI.
const MPI: &str = "HALO_MPICXX";
const DIALECTS: &[&str] = &["-std=c++17", "-std=c++20"];

/// A program, further flags and files, and how its output begins.
type Program = (&'static str, &'static [&'static str], &'static str);

const PROGRAMS: &[Program] = &[
    // The mean of the mismatched log-ratios 1, 0.5, -1 and 1.5, as bindings/c/kto_loss.c says.
    ("kto_loss", &["bindings/cpp/second_unit.cpp"], "z0 = 0.5\n"),
    ("errors", &["-pthread"], "errors: with exceptions\n"),
    ("drive", &[], "drive: with exceptions\n"),
    (
        "errors",
        &["-pthread", "-fno-exceptions", "-fno-rtti"],
        "errors: without exceptions\n",
    ),
    (
        "drive",
        &["-fno-exceptions", "-fno-rtti"],
        "drive: without exceptions\n",
    ),
];

pub(super) fn run(library: &Library) -> Outcome {
    every_handle_is_freed()?;
    for compiler in COMPILERS {
        if !there(compiler) {
            println!("  left out: no {compiler}");
            continue;
        }
        for dialect in DIALECTS {
            for program in PROGRAMS {
                runs(library, compiler, dialect, program)?;
            }
        }
        println!(
            "  {compiler}: {} and without exceptions",
            DIALECTS.join(", ")
        );
    }
    same_as_c(library)?;
    session(library)?;
    mpi(library)?;
    libtorch::run(library)
}

fn runs(library: &Library, compiler: &str, dialect: &str, program: &Program) -> Outcome {
    let (name, flags, begins) = program;
    let flags = [STRICT, flags, &[dialect]].concat();
    let source = format!("bindings/cpp/{name}.cpp");
    let built = library.compile(compiler, &flags, &[&source], &format!("{name}_cpp"))?;
    let said = output(&mut Command::new(built))?;
    match said.starts_with(begins) {
        true => Ok(()),
        false => Err(format!("{name}, {compiler} {dialect}, said\n{said}")),
    }
}

/// core.hpp names no function of C but the ones that free: a handle that it misses could not be owned.
fn every_handle_is_freed() -> Outcome {
    let core = read("include/halo/core.hpp")?;
    let api: Value =
        serde_json::from_str(&read("include/halo_api.json")?).map_err(|error| error.to_string())?;
    for handle in api["opaque"].as_array().into_iter().flatten() {
        let free = format!("{}_free(handle)", handle["name"].as_str().unwrap_or(""));
        if !core.contains(&free) {
            return Err(format!("include/halo/core.hpp: deleter lacks {free}"));
        }
    }
    Ok(())
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))
}

/// A model of the engine's; a library without sessions must say so.
fn session(library: &Library) -> Outcome {
    let Some(compiler) = COMPILERS.iter().find(|compiler| there(compiler)) else {
        return Ok(());
    };
    let flags = [STRICT, &["-std=c++17"]].concat();
    let source = "bindings/cpp/session.cpp";
    let program = library.compile(compiler, &flags, &[source], "session_cpp")?;
    let mut command = Command::new(program);
    command.current_dir(root()).arg("testdata/demo/model");
    print!("  {}", output(&mut command)?);
    Ok(())
}

/// Two ranks and one, where there is an MPI; its compiler and starter stand in one folder.
fn mpi(library: &Library) -> Outcome {
    let compiler = env::var(MPI).unwrap_or_else(|_| "mpicxx".into());
    if !there(&compiler) {
        println!("  left out: MPI ({MPI}, or mpicxx)");
        return Ok(());
    }
    // OpenMPI's own C++ interface, which the standard has dropped, warns.
    let flags = [STRICT, &["-std=c++17", "-DOMPI_SKIP_MPICXX"]].concat();
    let program = library.compile(&compiler, &flags, &["bindings/cpp/mpi.cpp"], "mpi_cpp")?;
    let starter = Path::new(&compiler).with_file_name("mpiexec");
    print!("  {}", output(ranks(starter, 2).arg(program))?);
    Ok(())
}

/// The two languages print the same digits.
fn same_as_c(library: &Library) -> Outcome {
    let (c, cpp) = (
        library.folder.join("bin/kto_loss"),
        library.folder.join("bin/kto_loss_cpp"),
    );
    if !there("cc") || !cpp.exists() {
        println!("  left out: C and C++ beside each other");
        return Ok(());
    }
    library.compile("cc", &["-std=c99"], &["bindings/c/kto_loss.c"], "kto_loss")?;
    let (c, cpp) = (
        output(&mut Command::new(c))?,
        output(&mut Command::new(cpp))?,
    );
    match c == cpp {
        true => Ok(()),
        false => Err(format!("kto_loss said in C\n{c}and in C++\n{cpp}")),
    }
}
