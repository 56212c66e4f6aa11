//! `halo train`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use clap::ArgMatches;
use clap::parser::ValueSource;
use halo_core::config::TrainConfig;
use halo_core::session::{Session, Step};
use halo_core::{Error, RUN_CONFIG, Result};
use halo_train::Ramp;
use toml::{Table, Value};

use crate::hub;
use crate::output::Output;
use crate::progress::Progress;

/// Train a model on feedback or preferences
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// TOML file with the same settings; flags override it
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,
    /// Continue the run that stands in --out from its last checkpoint
    #[arg(long, help_heading = "Run")]
    resume: bool,
    /// Set a parameter of the loss, as in --set beta=0.1; see `halo losses NAME`
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Loss")]
    set: Vec<String>,
    /// Let a parameter of the loss change over the run, as in --ramp beta=0.5:cosine:0.1:0.9 (to, shape, start, end)
    #[arg(long, value_name = "KEY=TO", help_heading = "Loss")]
    ramp: Vec<String>,
    #[command(flatten)]
    settings: TrainConfig,
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
    let mut config = settings(args, matches)?;
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

/// The run's settings: a file's (with --resume, the run's own), overridden by the flags that were given.
fn settings(args: &Args, matches: Option<&ArgMatches>) -> Result<TrainConfig> {
    let file = match (&args.config, args.resume) {
        (Some(file), _) => Some(file.clone()),
        (None, true) => {
            Some(args.settings.output_dir.join(RUN_CONFIG)).filter(|file| file.is_file())
        }
        (None, false) => None,
    };
    let mut table = file
        .as_deref()
        .map_or(Ok(Table::new()), TrainConfig::read_table)?;
    let internal = |e: toml::ser::Error| Error::internal(e.to_string());
    let flags = Table::try_from(&args.settings).map_err(internal)?;
    for (key, value) in flags {
        let given = matches.is_some_and(|m| {
            m.try_contains_id(&key).is_ok()
                && m.value_source(&key) == Some(ValueSource::CommandLine)
        });
        if given {
            table.insert(key, value);
        }
    }
    if !args.set.is_empty() {
        let mut params = halo_loss::Params::new();
        for assignment in &args.set {
            params.parse(assignment)?;
        }
        merge(
            &mut table,
            "loss_parameters",
            Table::try_from(&params).map_err(internal)?,
        )?;
    }
    if !args.ramp.is_empty() {
        let mut ramps = BTreeMap::new();
        for assignment in &args.ramp {
            let wrong =
                || Error::parameter(format!("--ramp {assignment:?} is not of the form key=to"));
            let (key, ramp) = assignment.split_once('=').ok_or_else(wrong)?;
            ramps.insert(key.trim(), ramp.trim().parse::<Ramp>()?);
        }
        merge(
            &mut table,
            "loss_schedule",
            Table::try_from(&ramps).map_err(internal)?,
        )?;
    }
    let named = |e: toml::de::Error| {
        let place = file
            .as_deref()
            .map_or("settings".into(), |file| file.display().to_string());
        Error::parameter(format!("{place}: {}", e.message()))
    };
    Value::Table(table).try_into().map_err(named)
}

/// Puts flags' entries over those that a table of the file has.
fn merge(table: &mut Table, key: &str, given: Table) -> Result<()> {
    let all = table
        .entry(key)
        .or_insert_with(|| Value::Table(Table::new()));
    match all.as_table_mut() {
        Some(all) => all.extend(given),
        None => return Err(Error::parameter(format!("{key} is not a table"))),
    }
    Ok(())
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
    use clap::{Args as _, Command};

    #[test]
    fn every_setting_of_a_run_has_a_flag() {
        let command = Args::augment_args(Command::new("train"));
        let flags: Vec<_> = command
            .get_arguments()
            .map(|arg| arg.get_id().to_string())
            .collect();
        let json = serde_json::to_value(TrainConfig::default()).unwrap();
        for key in json
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !["loss_parameters", "loss_schedule"].contains(&key.as_str()))
        {
            assert!(flags.contains(key), "no flag for {key}");
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 1000, 1234567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
