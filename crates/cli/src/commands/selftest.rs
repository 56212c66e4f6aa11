//! `halo selftest`

use halo_core::selftest::{self, Check};
use halo_core::{Error, Result};

use crate::output::Output;

/// Prove a device: every op and whole runs against the CPU's, in a table
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Device: cuda:0, or cpu (whole runs only)
    #[arg(long, value_name = "NAME", default_value = "cuda:0")]
    device: String,
}

const EXAMPLES: &str = "\
Examples:
  halo selftest --device cuda:0
  halo --json selftest --device cuda:0 > selftest.jsonl

Each line gives the largest deviation from the CPU, relative to the largest number, and what is allowed. Exit code 0 only if every
check passed. Takes up to three minutes on a GPU; needs no model and no network.";

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    output.note(format_args!(
        "{:<52} {:>9} {:>9} {:>8}",
        format!("selftest of {}", args.device),
        "off by",
        "allowed",
        "seconds"
    ));
    let checks = selftest::run(&args.device, |check| {
        output.result(row(check), check);
    })?;
    let failed: Vec<&str> = checks
        .iter()
        .filter(|check| !check.passed())
        .map(|check| check.name.as_str())
        .collect();
    match failed.is_empty() {
        true => {
            output.note(format_args!("all {} checks passed", checks.len()));
            Ok(())
        }
        false => Err(Error::internal(format!(
            "{} of {} checks failed on {}: {}",
            failed.len(),
            checks.len(),
            args.device,
            failed.join("; ")
        ))),
    }
}

fn row(check: &Check) -> String {
    let worst = check
        .worst
        .map_or("-".into(), |worst| format!("{worst:.1e}"));
    let problem = check.problem.as_ref();
    format!(
        "{:<52} {worst:>9} {:>9.0e} {:>8.2}{}",
        check.name,
        check.allowed,
        check.seconds,
        problem.map_or(String::new(), |problem| format!("  FAILED: {problem}"))
    )
}
