//! `halo train`

use std::time::Instant;

use clap::ArgMatches;
use halo_core::Result;
use halo_core::session::{Session, Step};

use crate::hub;
use crate::output::Output;
use crate::progress::Progress;
use crate::settings::{RunArgs, settings};

/// Train a model on feedback or preferences
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Continue the run that stands in --out from its last checkpoint
    #[arg(long, help_heading = "Run")]
    resume: bool,
    #[command(flatten)]
    run: RunArgs,
}

const EXAMPLES: &str = "\
Data is JSON Lines, plain or .gz, in TRL's shapes:
  {\"prompt\": \"…\", \"completion\": \"…\", \"label\": true}        for kto
  {\"prompt\": \"…\", \"chosen\": \"…\", \"rejected\": \"…\"}          for dpo; kto takes the pairs apart
  {\"prompt\": \"…\", \"completion\": \"…\"}                       for sft
Prompts and completions may be lists of {\"role\", \"content\"} messages: the model's chat template renders them.

The same settings as a TOML file, for --config; every run writes its own as run.toml:
  model = \"Qwen/Qwen2.5-0.5B\"
  data = [\"feedback.jsonl\"]
  loss = \"kto\"
  learning_rate = 5e-6
  per_device_train_batch_size = 8
  output_dir = \"run\"
  [loss_parameters]
  beta = 0.1

The run's folder then holds the trained model (or adapter) as Hugging Face writes it, metrics.jsonl with one line a step,
and checkpoints.";

pub(crate) fn run(args: &Args, matches: Option<&ArgMatches>, output: &Output) -> Result<()> {
    let mut config = settings(&args.run, args.resume, matches)?;
    config.model = hub::folder(&config.model, output)?;
    config.reference = match &config.reference {
        Some(reference) => Some(hub::folder(reference, output)?),
        None => None,
    };
    let started = Instant::now();
    let mut session = Session::open(config, args.resume)?;
    output.note(session.report());
    output.note(format_args!(
        "{} trained numbers, {} steps of {} × {} examples, loss {}",
        grouped(session.trained()),
        session.total_steps(),
        session.config().per_device_train_batch_size,
        session.config().gradient_accumulation_steps,
        session.loss().name()
    ));
    train(&mut session, output)?;
    output.note(format_args!(
        "done in {:.1} s: {}",
        started.elapsed().as_secs_f64(),
        session.config().output_dir.display()
    ));
    Ok(())
}

/// Runs a session to its end, showing progress: what each step did.
pub(crate) fn train(session: &mut Session, output: &Output) -> Result<Vec<Step>> {
    let (done, total) = (session.completed_steps(), session.total_steps());
    if session.config().precompute_ref_log_probs {
        let mut progress = Progress::new(output, "reference", done, total);
        session.precompute(|step| progress.at(step, "reference"))?;
        progress.finish();
    }
    let mut progress = Progress::new(output, "training", done, total);
    let mut steps = Vec::new();
    while let Some(step) = session.step()? {
        progress.step(&step);
        steps.push(step);
    }
    progress.finish();
    Ok(steps)
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 1000, 1234567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
