//! `halo advise`

use std::path::PathBuf;

use halo_core::advise::{Known, Report, Setting, Start, look, measure};
use halo_core::config::TrainConfig;
use halo_core::data::{AsIs, Limits, load_as_is};
use halo_core::device::Placement;
use halo_core::models::{Loaded, Readout, Training, load_for};
use halo_core::tokenizer::Tokenizer;
use halo_core::{Error, Result};
use halo_loss::Loss;
use serde_json::json;

use crate::hub;
use crate::output::Output;
use crate::progress::Progress;

mod text;

/// Look at data, and say which loss fits it and why, with a run ready to start
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Data files, JSONL or JSONL.gz, of any shape that `halo train` reads
    #[arg(required = true, value_name = "DATA")]
    data: Vec<PathBuf>,
    /// Write the proposed run here, for `halo train --config`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Losses of the ranking to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,

    /// Labels were made of an indirect signal: clicks, purchases, no complaint
    #[arg(long, help_heading = "What you know of the data")]
    weak: bool,
    /// Share of labels known to be wrong, 0 to 1
    #[arg(long, value_name = "X", help_heading = "What you know of the data")]
    noise: Option<f64>,
    /// Whether pairs compare answers that are both good, or nearly the same [default: measured by common words]
    #[arg(long, value_name = "YES", help_heading = "What you know of the data")]
    fine_comparisons: Option<bool>,
    /// Completions with a score and no label are desirable from this score on [default: above 0]
    #[arg(
        long,
        value_name = "X",
        allow_negative_numbers = true,
        help_heading = "What you know of the data"
    )]
    score_threshold: Option<f64>,

    /// Model to be trained: count in its tokens, find what its limits cut, and measure where the examples start
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    model: Option<PathBuf>,
    /// Reference to compare the model with [default: the model as it is]
    #[arg(long, value_name = "DIR", requires = "model", help_heading = "Model")]
    reference: Option<PathBuf>,
    /// Longest prompt plus completion, in tokens
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().max_length, help_heading = "Model")]
    max_length: usize,
    /// Completions to measure, evenly spread over the data; 0: none
    #[arg(long, value_name = "N", default_value_t = 200, help_heading = "Model")]
    sample: usize,
}

const EXAMPLES: &str = "\
Examples:
  halo advise feedback.jsonl
  halo advise pairs.jsonl --model Qwen/Qwen2.5-0.5B --out run.toml
  halo train --config run.toml --out run

Which loss fits depends on what was judged: single answers, pairs, scored groups, or nothing but examples to follow; on how
many there are, how balanced, how consistent. All of it is counted, and every reason is named. Judge for yourself: what counts
cannot show (whether labels are indirect, whether pairs compare near-equals) you can say with --weak and --fine-comparisons.";

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let model = args.model.as_ref();
    let model = model
        .map(|folder| hub::folder(folder, output))
        .transpose()?;
    let policy = model.as_ref().map(|folder| load(folder)).transpose()?;
    let tokenizer = policy.as_ref().map(tokenizer).transpose()?.flatten();
    let limits = Limits {
        max_length: Some(args.max_length),
        ..Limits::default()
    };
    let data = load_as_is(&args.data, tokenizer.as_ref(), limits)?;
    let report = look(
        &data,
        &Known {
            weak: args.weak,
            noise: args.noise,
            fine_comparisons: args.fine_comparisons,
            score_threshold: args.score_threshold,
        },
    )?;
    let toml = match report.candidate() {
        None => None,
        Some(_) => Some(report.toml(&Setting {
            data: args.data.clone(),
            model: args.model.clone(),
            reference: args.reference.clone(),
            max_length: policy.as_ref().map(|_| args.max_length),
        })?),
    };
    let start = match &policy {
        Some(policy) if args.sample > 0 => start(args, policy, &data, &report, output)?,
        _ => None,
    };
    if let Some(path) = &args.out {
        let Some(toml) = &toml else {
            return Err(Error::data(
                "no loss can be trained on these lines as they stand",
            ));
        };
        std::fs::write(path, toml).map_err(|e| Error::io(path, e))?;
    }
    let counted_in = match tokenizer {
        Some(_) => "tokens",
        None => "words",
    };
    let mut text = text::report(&report, counted_in, args.top);
    if let Some(start) = &start {
        text += &text::start(start);
    }
    match (&args.out, &toml) {
        (Some(path), _) => {
            text += &format!(
                "\nThe proposed run is in {0}: halo train --config {0}",
                path.display()
            );
        }
        (None, Some(toml)) => {
            text += &format!(
                "\nProposed run (--out FILE.toml writes it, halo train --config FILE.toml starts it):\n\n{toml}"
            );
        }
        (None, None) => text += "\nNo loss can be trained on these lines as they stand.",
    }
    output.result(
        text.trim_end(),
        &json!({ "counted_in": counted_in, "report": report, "start": start, "run": toml }),
    );
    Ok(())
}

fn load(folder: &std::path::Path) -> Result<Loaded> {
    load_for(
        folder,
        &Training::Frozen,
        Readout::Logps,
        0,
        &Placement::default(),
    )
}

/// Data of token ids needs none.
fn tokenizer(model: &Loaded) -> Result<Option<Tokenizer>> {
    match model.base.join("tokenizer.json").is_file() {
        true => Tokenizer::load(&model.base).map(Some),
        false => Ok(None),
    }
}

/// Where the examples stand under the loss that is proposed.
fn start(
    args: &Args,
    policy: &Loaded,
    data: &AsIs,
    report: &Report,
    output: &Output,
) -> Result<Option<Start>> {
    let Some(candidate) = report.candidate() else {
        return Ok(None);
    };
    let loss = Loss::new(&candidate.proposal.loss, &candidate.proposal.params)?;
    let reference = match &args.reference {
        Some(folder) => Some(load(&hub::folder(folder, output)?)?),
        None => None,
    };
    let mut progress = None;
    let start = measure(
        &loss,
        (data, report),
        (
            &policy.decoder,
            reference.as_ref().map(|model| &model.decoder),
        ),
        args.sample,
        |done, all| {
            let begin = || Progress::new(output, "measuring", 0, all as u64);
            progress
                .get_or_insert_with(begin)
                .at(done as u64, "measured");
        },
    )?;
    if let Some(progress) = progress {
        progress.finish();
    }
    Ok(Some(start))
}
