//! `halo`: align a language model from one binary.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod commands;
mod hub;
mod output;
mod placement;
mod progress;
#[cfg(test)]
mod readme;
mod settings;

use commands::{
    advise, demo, eval, export, generate, losses, saturation, score, selftest, train, tune,
};
use output::Output;

/// glibc returns every buffer to the kernel: page faults would dominate a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Align language models with KTO, DPO and other human-aware losses.
#[derive(Parser)]
#[command(name = "halo", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say nothing but errors and results
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// Write JSON lines instead of text
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Watch a small model become aligned from binary feedback: no network, no files, a minute or two
    Demo(demo::Args),
    /// Look at data, and say which loss fits it and why, with a run ready to start
    Advise(advise::Args),
    /// Train a model on feedback or preferences
    Train(Box<train::Args>),
    /// Learn beta and the class weights from data: short runs, compared on prompts that none of them saw
    Tune(Box<tune::Args>),
    /// Write completions of prompts
    Generate(generate::Args),
    /// Measure how often a model's answers are desirable, or how often they beat another model's
    Eval(eval::Args),
    /// See which examples of a run are learnt, active or given up, and what another loss or beta would make of them
    Saturation(saturation::Args),
    /// Give each completion of a data file its score by a reward model
    Score(score::Args),
    /// Prove a device: every op and whole runs against the CPU's, in a table
    Selftest(selftest::Args),
    /// List the losses, or explain one
    Losses(losses::Args),
    /// Merge an adapter into its base, or convert weights
    Export(export::Args),
}

const EXAMPLES: &str = "\
Examples:
  halo demo
  halo advise feedback.jsonl --out run.toml
  halo train --model Qwen/Qwen2.5-0.5B --data feedback.jsonl --out run      # KTO; {\"prompt\", \"completion\", \"label\"} a line
  halo train --model Qwen/Qwen2.5-0.5B --data pairs.jsonl --loss dpo --lora 16 --lr 1e-4 --out run
  halo train --resume --out run
  halo tune --config run.toml --write tuned.toml
  halo generate --model run --prompt 'The capital of France is'
  halo losses kto

Exit codes: 0 done, 1 a fault of halo, 2 a wrong argument, 3 wrong data, 4 a wrong model folder, 5 a file that cannot be
read or written, 6 a run that cannot go on as asked (changed configuration, stale cache, diverged).";

fn main() -> ExitCode {
    // The matches tell which flags were given: those override a configuration file.
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let output = Output::new(cli.quiet, cli.json);
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(&args, &output),
        Command::Advise(args) => advise::run(&args, &output),
        Command::Train(args) => train::run(&args, matches.subcommand_matches("train"), &output),
        Command::Tune(args) => tune::run(&args, matches.subcommand_matches("tune"), &output),
        Command::Generate(args) => generate::run(&args, &output),
        Command::Eval(args) => eval::run(&args, &output),
        Command::Saturation(args) => saturation::run(&args, &output),
        Command::Score(args) => score::run(&args, &output),
        Command::Selftest(args) => selftest::run(&args, &output),
        Command::Losses(args) => losses::run(&args, &output),
        Command::Export(args) => export::run(&args, &output),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(output::exit_code(&error))
        }
    }
}
