//! The tuned run as a file that `halo train --config` starts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Outcome;
use crate::config::TrainConfig;
use crate::{Error, Result, atomic};

/// Writes the whole configuration with the chosen parameters, and before it how they were chosen; the file appears whole or not
/// at all.
///
/// # Errors
/// A file that cannot be written.
pub fn write(outcome: &Outcome, config: &TrainConfig, path: &Path) -> Result<()> {
    let text = text(outcome, config)?;
    atomic::write(path, |file| file.write_all(text.as_bytes()))
}

fn text(outcome: &Outcome, config: &TrainConfig) -> Result<String> {
    let mut config = config.clone();
    outcome.choice().candidate.apply(&mut config);
    if config.output_dir.as_os_str().is_empty() {
        config.output_dir = PathBuf::from("run");
    }
    let (unit, measure) = match outcome.pairs {
        true => (
            "pairs",
            "share of held-out pairs whose chosen answer has the larger log-ratio",
        ),
        false => ("completions", "AUC of the log-ratio on held-out labels"),
    };
    let mut text = format!(
        "# Chosen by `halo tune`: {} candidates of {} steps each on {} {unit}, compared on {} {unit} of other prompts, seed {}.\n\
         # Measure: {measure}; within one standard error of the best, the smallest drift.\n",
        outcome.tried.len(),
        outcome.steps,
        outcome.training,
        outcome.held_out,
        outcome.seed,
    );
    for (index, tried) in outcome.tried.iter().enumerate() {
        let mark = if index == outcome.chosen { "*" } else { " " };
        let candidate = &tried.candidate;
        let mut what = match &candidate.beta {
            Some((key, beta)) => format!("{key} = {beta}"),
            None => String::new(),
        };
        if let Some(balance) = candidate.class_balance {
            what += &format!(" class_balance = {balance}");
        }
        let how = match &tried.utility {
            Some(utility) => format!(
                "{:.4} ± {:.4}, margin {:+.4}, drift {:.4} nats",
                utility.accuracy, utility.standard_error, utility.margin, utility.drift
            ),
            None => "diverged".into(),
        };
        // writing to a string cannot fail
        let _ = writeln!(text, "# {mark} {}: {how}", what.trim());
    }
    text += &toml::to_string(&config).map_err(|e| Error::internal(e.to_string()))?;
    Ok(text)
}
