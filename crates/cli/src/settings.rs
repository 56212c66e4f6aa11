//! The settings of a run as commands take them: a TOML file, and flags over it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use halo_core::config::TrainConfig;
use halo_core::{Error, RUN_CONFIG, Result};
use halo_train::Ramp;
use toml::{Table, Value};

/// Everything that a training run can be told.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// TOML file with the same settings; flags override it
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,
    /// Set a parameter of the loss, as in --set beta=0.1; see `halo losses NAME`
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Loss")]
    set: Vec<String>,
    /// Let a parameter of the loss change over the run, as in --ramp beta=0.5:cosine:0.1:0.9 (to, shape, start, end)
    #[arg(long, value_name = "KEY=TO", help_heading = "Loss")]
    ramp: Vec<String>,
    #[command(flatten)]
    settings: TrainConfig,
}

/// The run's settings: a file's (with `resume`, the run's own), overridden by the flags that were given.
pub(crate) fn settings(
    args: &RunArgs,
    resume: bool,
    matches: Option<&ArgMatches>,
) -> Result<TrainConfig> {
    let file = match (&args.config, resume) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, Command};

    #[test]
    fn every_setting_of_a_run_has_a_flag() {
        let command = RunArgs::augment_args(Command::new("train"));
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
}
