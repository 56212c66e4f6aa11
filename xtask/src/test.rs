//! `cargo xtask test`: what must hold before a change is done, cheapest first.
//!
//! Nothing to set up: fixtures are committed, crates come through cargo. The first stage that fails ends the run with its name.

use std::time::Instant;

use crate::shell::{self, Outcome, cargo};
use crate::{clients, cuda, docs, emulated, header, house, package, reference_points, wasm};

type Stage = (&'static str, fn() -> Outcome);

/// Lints and documents share one set of checked dependencies, packages and tests one set of built ones.
const STAGES: &[Stage] = &[
    ("format", || shell::run(&mut cargo("fmt --all --check"))),
    ("house", || house::run(&[])),
    ("generated documents", docs::check),
    ("C header", || header::run(&["--check".into()])),
    ("study of reference points", reference_points::check),
    ("lints", || {
        shell::run(&mut cargo(
            "clippy --workspace --all-targets -- -D warnings",
        ))
    }),
    ("fewer features", || {
        for package in ["halo-loss", "halo-cli", "halo-ffi"] {
            shell::run(
                cargo("clippy --no-default-features --package")
                    .args([package, "--", "-D", "warnings"]),
            )?;
        }
        Ok(())
    }),
    ("documentation", || {
        shell::run(cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("packages", package::list),
    ("tests", || shell::run(&mut cargo("test --workspace"))),
    ("clients of libhalo", || clients::run(&[])),
    ("emulated gpu", || emulated::run(&[])),
    ("cuda", || cuda::run(&[])),
    ("page", || wasm::run(&["--check".into()])),
];

pub(crate) fn run(_: &[String]) -> Outcome {
    let start = Instant::now();
    let mut times = Vec::new();
    for (name, stage) in STAGES {
        println!("\n── {name}");
        let began = Instant::now();
        let outcome = stage();
        let seconds = began.elapsed().as_secs_f64();
        outcome.map_err(|problem| {
            format!("stage \"{name}\" failed after {seconds:.0} s\n{problem}")
        })?;
        println!("── {name}: ok, {seconds:.1} s");
        times.push((name, seconds));
    }
    println!();
    for (name, seconds) in times {
        println!("  {name:27}{seconds:8.1} s");
    }
    println!(
        "all stages passed in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
