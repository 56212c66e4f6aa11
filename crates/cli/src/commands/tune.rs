//! `halo tune`

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use halo_core::session::Trial;
use halo_core::tune::{FEW, Options, Outcome, tune, write};
use halo_core::{Error, Result};
use halo_loss::{ParamValue, Params};
use serde_json::json;

use crate::hub;
use crate::output::Output;
use crate::progress::Progress;
use crate::settings::{RunArgs, settings};

/// Learn beta and the class weights from data: short runs, compared on prompts that none of them saw
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write the run with the chosen parameters here, for `halo train --config`
    #[arg(long, value_name = "FILE", help_heading = "Search")]
    write: Option<PathBuf>,
    /// Share of the examples to hold out, whole prompts
    #[arg(long, value_name = "X", default_value_t = 0.2, help_heading = "Search")]
    held_out: f64,
    /// Optimizer steps of each candidate [default: an epoch, 50, or the run's own, whichever is the least]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Search")]
    trial_steps: Option<u64>,
    /// Run at most so many candidates: the run as configured, and others drawn by the seed [default: the whole grid]
    #[arg(long, value_name = "K", help_heading = "Search")]
    trials: Option<usize>,
    /// Betas to try beside the configured one [default: half, twice and four times it]
    #[arg(
        long,
        value_name = "BETAS",
        value_delimiter = ',',
        help_heading = "Search"
    )]
    betas: Vec<f64>,
    /// Class balances to try beside the configured weights, for losses that have class weights; 1 to 1.5
    #[arg(long, value_name = "BALANCES", value_delimiter = ',', default_values_t = [1.0, 1.25, 1.5], help_heading = "Search")]
    balances: Vec<f64>,
    #[command(flatten)]
    run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  halo tune --config run.toml --write tuned.toml
  halo train --config tuned.toml --out run
  halo tune --model Qwen/Qwen2.5-0.5B --data feedback.jsonl --lora 16 --lr 1e-4 --betas 0.05,0.2 --trial-steps 100

All settings of `halo train` are taken: they are the run that is tuned. Part of its data is held out, prompt by prompt, and every
candidate trains on the rest: from the same weights, on the same examples in the same order. Then each is measured by the log-ratio
ln p - ln p_ref of the held-out completions, which no beta and no weight enters:
  auc     how often a desirable completion has a larger log-ratio than an undesirable one (of pairs: the chosen one than the
          rejected); 0.5 is chance. With its standard error: differences below it mean nothing
  margin  how much larger on average, in nats
  drift   mean size of the log-ratio, in nats: the price, how far the model moved
The best auc wins; among those within its standard error, the smallest drift. The learning-rate schedule of a candidate spans its own
steps. The winner's auc is a little too good, because it was chosen by it. The same seed gives the same result.";

pub(crate) fn run(args: &Args, matches: Option<&ArgMatches>, output: &Output) -> Result<()> {
    let tuned = settings(&args.run, false, matches)?;
    if let Some(path) = &args.write {
        check_writable(path)?;
    }
    let mut config = tuned.clone();
    config.model = hub::folder(&config.model, output)?;
    config.reference = match &config.reference {
        Some(reference) => Some(hub::folder(reference, output)?),
        None => None,
    };
    let options = Options {
        trial: Trial {
            held_out: args.held_out,
            steps: args.trial_steps,
        },
        betas: args.betas.clone(),
        balances: args.balances.clone(),
        trials: args.trials,
    };
    let scratch = Scratch::new(args.write.as_deref());
    let mut bar: Option<Progress<'_>> = None;
    let outcome = tune(&config, &options, &scratch.0, |now| {
        let total = now.of as u64 * now.steps;
        let done = now.candidate as u64 * now.steps + now.step.metrics.step;
        bar.get_or_insert_with(|| Progress::new(output, "tuning", 0, total))
            .at(done, "tuning");
    });
    if let Some(bar) = bar {
        bar.finish();
    }
    let outcome = outcome?;
    if let Some(path) = &args.write {
        write(&outcome, &tuned, path)?;
    }
    let mut text = text(&outcome);
    text += &match &args.write {
        Some(path) => format!(
            "The run with these parameters is in {0}: halo train --config {0}",
            path.display()
        ),
        None => "--write FILE.toml writes the run with these parameters.".into(),
    };
    let chosen = outcome.choice();
    output.result(
        text,
        &json!({ "chosen": chosen, "outcome": outcome, "written": args.write }),
    );
    Ok(())
}

/// Before the trials, not after them.
fn check_writable(path: &Path) -> Result<()> {
    let parent = parent(path);
    let refuse = |kind, why: &str| Err(Error::io(path, std::io::Error::new(kind, why)));
    match (parent.is_dir(), path.is_dir()) {
        (false, _) => refuse(std::io::ErrorKind::NotFound, "its folder does not exist"),
        (_, true) => refuse(std::io::ErrorKind::IsADirectory, "is a folder"),
        _ => Ok(()),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Where trials write what they must: beside the result, or in the system's folder for such files.
struct Scratch(PathBuf);

impl Scratch {
    fn new(beside: Option<&Path>) -> Scratch {
        let folder = beside.map_or_else(std::env::temp_dir, |path| parent(path).to_owned());
        Scratch(folder.join(format!(".halo-tune-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(outcome: &Outcome) -> String {
    let (unit, measure) = match outcome.pairs {
        true => ("pairs", "accuracy"),
        false => ("completions", "auc"),
    };
    let mut text = format!(
        "{}: {} candidates, {} steps each on {} {unit}; compared on {} {unit} of other prompts (seed {}):\n\n",
        outcome.loss,
        outcome.tried.len(),
        outcome.steps,
        outcome.training,
        outcome.held_out,
        outcome.seed
    );
    text += &format!(
        "    {:>9}  {:>8}  {:>17}  {:>15}  {:>8}  {:>8}\n",
        "beta", "balance", "weights", measure, "margin", "drift"
    );
    for (index, tried) in outcome.tried.iter().enumerate() {
        let mark = if index == outcome.chosen { "*" } else { " " };
        let beta = tried.candidate.beta.as_ref();
        let beta = beta.map_or("-".into(), |(_, beta)| beta.to_string());
        let balance = tried.candidate.class_balance;
        let balance = balance.map_or("as set".into(), |balance| balance.to_string());
        let how = match &tried.utility {
            Some(utility) => format!(
                "{:>15}  {:>+8.4}  {:>8.4}",
                format!("{:.3} ± {:.3}", utility.accuracy, utility.standard_error),
                utility.margin,
                utility.drift
            ),
            None => format!("{:>15}", "diverged"),
        };
        text += &format!(
            "  {mark} {beta:>9}  {balance:>8}  {:>17}  {how}\n",
            weights(&tried.params)
        );
    }
    text += &format!(
        "\n* chosen: {} of {} candidates lie within one standard error of the best {measure}; of those it has the smallest drift.\n",
        outcome.within_error,
        outcome.tried.len()
    );
    if outcome.few() {
        text += &format!(
            "warning: {} {unit} are held out; with fewer than {FEW} differences mean little: give more data or a larger --held-out\n",
            outcome.held_out
        );
    }
    text
}

/// λ_D and λ_U of a loss that has them, under their plain names or behind a term's.
fn weights(params: &Params) -> String {
    let of = |word: &str| {
        params.iter().find_map(|(key, value)| match value {
            ParamValue::Number(number) if key.rsplit('.').next() == Some(word) => Some(*number),
            _ => None,
        })
    };
    match (of("desirable_weight"), of("undesirable_weight")) {
        (Some(desirable), Some(undesirable)) => format!("{desirable:.3} : {undesirable:.3}"),
        _ => "-".into(),
    }
}
