//! `halo generate`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use halo_core::data::{Prompt, load_prompts};
use halo_core::device::Placement;
use halo_core::generate::{Completion, Sampling, generate};
use halo_core::models::{Loaded, Readout, Training, load_for};
use halo_core::tokenizer::Tokenizer;
use halo_core::{Error, Result};
use serde_json::json;

use crate::hub;
use crate::output::Output;
use crate::placement::Machine;
use crate::progress::Progress;

/// Write completions of prompts
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model or adapter folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// One prompt, as text
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "prompts",
        required_unless_present = "prompts"
    )]
    prompt: Option<String>,
    /// Prompts: JSONL with `prompt` (text or messages), or plain text, one a line
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Completions per prompt
    #[arg(long, value_name = "N", default_value_t = 1)]
    samples: usize,
    /// Write JSONL here instead of text to the terminal
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    placement: Machine,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    if args.samples == 0 {
        return Err(Error::parameter("samples = 0; allowed: 1 or more").with_argument("samples"));
    }
    let (model, tokenizer) = open(&args.model, &args.placement.open()?, output)?;
    let prompts = match (&args.prompt, &args.prompts) {
        (Some(text), _) => vec![Prompt::text(&tokenizer, "prompt", text)?],
        (None, Some(file)) => load_prompts(file, &tokenizer)?,
        (None, None) => Vec::new(), // clap requires one of them
    };
    let prompts: Vec<Prompt> = prompts
        .into_iter()
        .flat_map(|prompt| std::iter::repeat_n(prompt, args.samples))
        .collect();
    let completions = complete(&model, &tokenizer, &prompts, &args.sampling, output)?;
    let mut file = match &args.out {
        Some(path) => Some(BufWriter::new(
            File::create(path).map_err(|e| Error::io(path, e))?,
        )),
        None => None,
    };
    for (prompt, completion) in prompts.iter().zip(&completions) {
        let text = tokenizer.decode(&completion.tokens, false)?;
        let record = json!({
            "id": prompt.id,
            "prompt": prompt.text,
            "completion": text,
            "logp": completion.logps.iter().sum::<f64>(),
            "tokens": completion.tokens.len(),
            "ended": completion.ended,
        });
        match (&mut file, &args.out) {
            (Some(file), Some(path)) => {
                writeln!(file, "{record}").map_err(|e| Error::io(path, e))?
            }
            _ => output.result(format_args!("{}{text}", prompt.text), &record),
        }
    }
    match (file, &args.out) {
        (Some(mut file), Some(path)) => file.flush().map_err(|e| Error::io(path, e)),
        _ => Ok(()),
    }
}

/// A model for generation, with its tokenizer.
pub(crate) fn open(
    folder: &std::path::Path,
    placement: &Placement,
    output: &Output,
) -> Result<(Loaded, Tokenizer)> {
    let folder = hub::folder(folder, output)?;
    let model = load_for(&folder, &Training::Frozen, Readout::Logps, 0, placement)?;
    let tokenizer = Tokenizer::load(&model.base)?;
    Ok((model, tokenizer))
}

/// Completions of all prompts, with progress.
pub(crate) fn complete(
    model: &Loaded,
    tokenizer: &Tokenizer,
    prompts: &[Prompt],
    sampling: &Sampling,
    output: &Output,
) -> Result<Vec<Completion>> {
    let tokens: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
    let mut progress = Progress::new(output, "generating", 0, tokens.len() as u64);
    let completions = generate(
        &model.decoder,
        &tokens,
        tokenizer.stop_tokens(),
        sampling,
        |done| {
            progress.at(done as u64, "generated");
        },
    )?;
    progress.finish();
    Ok(completions)
}
