//! `cargo xtask`: everything about this project that is automated. One file a task.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]

use std::process::ExitCode;

mod bench;
mod clients;
mod cuda;
mod demo;
mod dist;
mod docs;
mod emulated;
mod header;
mod house;
mod package;
mod peers;
mod reference_points;
mod shell;
mod test;
mod wasm;

/// A task: what it is called, what it does, and the function that gets the arguments after its name.
type Task = (&'static str, &'static str, fn(&[String]) -> shell::Outcome);

const TASKS: &[Task] = &[
    (
        "test",
        "everything that must hold: format, lints, documents, packages, tests",
        test::run,
    ),
    (
        "docs",
        "write docs/losses.md, its plots and README's table from the registry of losses",
        docs::write,
    ),
    (
        "reference-points",
        "the study of the reference points' estimators: docs/reference_points.md; --check compares",
        reference_points::run,
    ),
    (
        "header",
        "write include/halo.h, halo_api.json, docs/c-api.md and the symbol list from crates/ffi; --check compares",
        header::run,
    ),
    (
        "clients",
        "build libhalo, then build and run the programs that use it",
        clients::run,
    ),
    (
        "dist",
        "the release archive of libhalo, and programs that use it; --full: with the built-in models",
        dist::run,
    ),
    (
        "house",
        "the rules that no other tool checks: sizes of files, machine paths",
        house::run,
    ),
    (
        "package",
        "pack the libraries as for a registry, build them from the packages",
        package::run,
    ),
    (
        "cuda",
        "lay nvcc out, build the feature `cuda`, weigh the kernels; no GPU needed",
        cuda::run,
    ),
    (
        "emulated-gpu",
        "the GPU's kernels on an emulated GPU, with and without sanitizers",
        emulated::run,
    ),
    (
        "wasm",
        "build the page web/dist/inspector.html; --check also holds bits, sizes, types and the page itself",
        wasm::run,
    ),
    (
        "bench",
        "criterion's benchmarks; what follows goes to them, as in `bench -- attention`",
        bench::run,
    ),
    (
        "peers",
        "halo beside TRL, with the Python that PEERS_PYTHON names",
        peers::run,
    ),
    (
        "demo-data",
        "make the demo's corpus, prompts and vocabulary anew, from a seed",
        demo::data,
    ),
    (
        "demo-model",
        "train the demo's model with halo and collect the feedback on its answers",
        demo::model,
    ),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        println!("cargo xtask TASK\n\n{}", list());
        return ExitCode::SUCCESS;
    };
    let Some((_, _, task)) = TASKS.iter().find(|(known, ..)| *known == name) else {
        eprintln!("unknown task \"{name}\"; known:\n\n{}", list());
        return ExitCode::from(2);
    };
    match task(&arguments.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask {name}: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> String {
    TASKS
        .iter()
        .map(|(name, what, _)| format!("  {name:18}{what}\n"))
        .collect()
}
