//! Hosts that own the model: data sets and the trainer's protocol, then whole runs that must end at the same weights, however their
//! steps are cut over micro-batches and ranks, and whoever fails on the way.

use std::fs;
use std::process::Command;

use super::STRICT;
use crate::clients::{Library, output, ranks, there};
use crate::shell::{Outcome, root};

pub(super) fn run(library: &Library) -> Outcome {
    for name in ["dataset", "trainer"] {
        let source = format!("crates/ffi/tests/c/{name}.c");
        let program = library.compile("cc", &flags(&[]), &[&source], name)?;
        let data = root().join("testdata/fixtures/trl/kto.jsonl");
        output(Command::new(program).arg(data))?;
        println!("{name}: as the header says");
    }
    let source = &["bindings/c/host_model.c"];
    let program = library.compile("cc", &flags(&[]), source, "host_model")?;
    runs("one process, or two joined by a socket", &[1, 2], |_| {
        Command::new(&program)
    })?;
    if !(there("mpicc") && there("mpirun")) {
        println!("  left out: two ranks over MPI, no mpicc and mpirun here");
        return Ok(());
    }
    let flags = flags(&["-DWITH_MPI"]);
    let program = library.compile("mpicc", &flags, source, "host_model_mpi")?;
    runs("processes of MPI", &[2], |count| {
        let mut command = ranks("mpirun", count);
        command.arg(&program);
        command
    })
}

fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["-std=c99", "-g"], STRICT, more].concat()
}

/// Every way to cut the steps, undisturbed and with failures.
fn runs(how: &str, ranks: &[usize], command: impl Fn(usize) -> Command) -> Outcome {
    let file = "bindings/c/host_model.weights";
    let text = fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
    let expected = numbers(&text)?;
    let (mut count, mut farthest) = (0, 0.0f64);
    for &ranks in ranks {
        for micro_batches in [1, 2, 3].into_iter().take(if ranks == 1 { 3 } else { 2 }) {
            // never; a first, a middle and a late work
            for fails_at in [None, Some(0), Some(3), Some(11)] {
                let mut command = command(ranks);
                command.args([ranks, micro_batches].map(|number| number.to_string()));
                command.args(fails_at.map(|at: usize| at.to_string()));
                let said = output(&mut command)?;
                let what = format!("{ranks} ranks x {micro_batches}, failing at {fails_at:?}");
                let failures = format!("failures {}", usize::from(fails_at.is_some()));
                if !said.lines().any(|line| line == failures) {
                    return Err(format!("{what}: {failures:?} is not in\n{said}"));
                }
                let far = distance(&numbers(&said)?, &expected);
                if far >= 1e-12 {
                    return Err(format!("{what}: {far} from {file}"));
                }
                (count, farthest) = (count + 1, farthest.max(far));
            }
        }
    }
    println!("host_model, {how}: {count} runs end at the same weights, to {farthest:.0e}");
    Ok(())
}

/// The lines before the first that is no number.
fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let numbers: Vec<f64> = text.lines().map_while(|line| line.parse().ok()).collect();
    match numbers.is_empty() {
        true => Err(format!("no weights in\n{text}")),
        false => Ok(numbers),
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    match a.len() == b.len() {
        true => a
            .iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max),
        false => f64::INFINITY,
    }
}
