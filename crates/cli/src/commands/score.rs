//! `halo score`

use std::path::PathBuf;

use halo_core::Result;
use halo_core::config::TrainConfig;
use halo_core::data::{Limits, load_as_is};
use halo_core::score::{accuracy, open, score};
use halo_core::tokenizer::Tokenizer;
use serde_json::json;

use crate::hub;
use crate::output::Output;
use crate::placement::Machine;
use crate::progress::Progress;

/// Give each completion of a data file its score by a reward model
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Reward model: a folder with a sequence-classification head of one label, or an adapter with one
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Data files, JSONL or JSONL.gz, of any shape that `halo train` reads
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// Longest prompt plus completion, in tokens; what is over is cut
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().max_length)]
    max_length: usize,
    #[command(flatten)]
    placement: Machine,
}

const EXAMPLES: &str = "\
Examples:
  halo train --model Qwen/Qwen2.5-0.5B --data pairs.jsonl --loss bradley_terry --out reward   # see `halo losses`
  halo score --model reward --data held-out.jsonl > scores.jsonl

Writes one JSON line a completion, {\"id\", \"score\"}; of a pair both sides, and at the end how often the chosen one scores higher.";

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let model = open(&hub::folder(&args.model, output)?, &args.placement.open()?)?;
    let tokenizer = match model.base.join("tokenizer.json").is_file() {
        true => Some(Tokenizer::load(&model.base)?),
        false => None,
    };
    let limits = Limits {
        max_length: Some(args.max_length),
        ..Limits::default()
    };
    let data = load_as_is(&args.data, tokenizer.as_ref(), limits)?;
    let all = data.judgements.len() as u64;
    let mut progress = Progress::new(output, "scoring", 0, all);
    let scores = score(&model.decoder, &data, |done| {
        progress.at(done as u64, "scored");
    })?;
    progress.finish();
    for (judgement, score) in data.judgements.iter().zip(&scores) {
        output.line(&json!({ "id": judgement.record.id, "score": score }));
    }
    for (count, why) in [
        (data.empty, "left out: nothing is written"),
        (data.lost, "left out: the length limit leaves nothing"),
    ] {
        if count > 0 {
            output.note(format_args!("{count} {why}"));
        }
    }
    if let Some(accuracy) = accuracy(&data, &scores) {
        match output.json {
            true => output.line(&accuracy),
            false => output.note(format_args!(
                "the chosen completion scores higher in {} of {} pairs ({:.1} %), {} ties",
                accuracy.correct,
                accuracy.pairs,
                100.0 * accuracy.accuracy,
                accuracy.ties
            )),
        }
    }
    Ok(())
}
