//! `halo eval`

use std::path::{Path, PathBuf};

use halo_core::data::{Prompt, load_prompts};
use halo_core::device::Placement;
use halo_core::eval::{CommandJudge, Item, Judge, Outcome, Rate, verifier};
use halo_core::generate::Sampling;
use halo_core::{Error, Result};
use serde_json::json;

use super::generate::{complete, open};
use crate::output::Output;
use crate::placement::Machine;

/// Measure how often a model's answers are desirable, or how often they beat another model's
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model or adapter folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Another model: report the rate of wins over it
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Prompts: JSONL with `prompt` (text or messages), or plain text, one a line
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// Built-in verifier that judges
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "judge_command",
        required_unless_present = "judge_command"
    )]
    judge: Option<String>,
    /// Shell command that judges: reads JSON lines {"id", "prompt", "completion"} and answers {"desirable": true} to each;
    /// with --against it reads "completion_a" and "completion_b" and answers {"winner": "a"}, "b" or "tie"
    #[arg(long, value_name = "COMMAND")]
    judge_command: Option<String>,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    placement: Machine,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let judge = judge(args)?;
    let placement = args.placement.open()?;
    let ours = answers(
        &args.model,
        &args.prompts,
        &args.sampling,
        &placement,
        output,
    )?;
    let Some(against) = &args.against else {
        let rate = Rate::of(&judge.desirable(&ours)?);
        let text = format!("desirable {rate}, 90 % interval, n = {}", rate.n);
        output.result(text, &json!({ "desirable": rate }));
        return Ok(());
    };
    let theirs = answers(against, &args.prompts, &args.sampling, &placement, output)?;
    let outcomes = judge.compare(&ours, &theirs)?;
    let count = |outcome| outcomes.iter().filter(|o| **o == outcome).count();
    let (wins, ties, losses) = (
        count(Outcome::Win),
        count(Outcome::Tie),
        count(Outcome::Loss),
    );
    let rate = Rate::of_outcomes(&outcomes);
    let text = format!(
        "wins {rate}, 90 % interval, n = {}: {wins} wins, {ties} ties, {losses} losses",
        rate.n
    );
    output.result(
        text,
        &json!({ "win_rate": rate, "wins": wins, "ties": ties, "losses": losses }),
    );
    Ok(())
}

fn judge(args: &Args) -> Result<Judge> {
    match (&args.judge, &args.judge_command) {
        (_, Some(command)) => Ok(Judge::Command(CommandJudge::new(command))),
        (Some(name), None) => match verifier::find(name) {
            Some(verifier) => Ok(Judge::Verifier(verifier)),
            None => {
                let known: Vec<_> = verifier::VERIFIERS
                    .iter()
                    .map(|verifier| verifier.name())
                    .collect();
                Err(Error::parameter(format!(
                    "unknown judge \"{name}\"; known: {}",
                    known.join(", ")
                ))
                .with_argument("judge"))
            }
        },
        (None, None) => Err(Error::parameter("give --judge or --judge-command")),
    }
}

/// A model's answers to the prompts of a file.
pub(crate) fn answers(
    folder: &Path,
    prompts: &Path,
    sampling: &Sampling,
    placement: &Placement,
    output: &Output,
) -> Result<Vec<Item>> {
    let (model, tokenizer) = open(folder, placement, output)?;
    let prompts: Vec<Prompt> = load_prompts(prompts, &tokenizer)?;
    let completions = complete(&model, &tokenizer, &prompts, sampling, output)?;
    prompts
        .into_iter()
        .zip(completions)
        .map(|(prompt, completion)| {
            let mut fields = prompt.fields;
            for taken in ["id", "prompt", "completion"] {
                fields.remove(taken);
            }
            Ok(Item {
                id: prompt.id,
                prompt: prompt.text,
                completion: tokenizer.decode(&completion.tokens, false)?,
                fields,
            })
        })
        .collect()
}
