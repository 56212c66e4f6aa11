//! `halo demo`: the main job on real input, in a minute or two.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use halo_core::config::TrainConfig;
use halo_core::device::Placement;
use halo_core::eval::{Item, Judge, Rate, verifier};
use halo_core::generate::Sampling;
use halo_core::session::{Session, Step};
use halo_core::{Error, Result};
use serde_json::json;

use super::eval::answers;
use super::train::{grouped, train};
use crate::output::Output;

/// Watch a small model become aligned from binary feedback
///
/// The model answers simple requests, and about every other answer is careless. Users have marked some answers as good or bad. KTO
/// learns from those marks alone; then both models answer requests that neither has seen, and a program checks every answer.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for the run [default: the first free of halo-demo, halo-demo-2, …]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of training and sampling
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// The demo's files, inside the binary so that it runs anywhere: name under the run's folder, contents.
const FILES: [(&str, &[u8]); 6] = [
    (
        "start/config.json",
        include_bytes!("../../../../testdata/demo/model/config.json"),
    ),
    (
        "start/model.safetensors",
        include_bytes!("../../../../testdata/demo/model/model.safetensors"),
    ),
    (
        "start/tokenizer.json",
        include_bytes!("../../../../testdata/demo/model/tokenizer.json"),
    ),
    (
        "start/tokenizer_config.json",
        include_bytes!("../../../../testdata/demo/model/tokenizer_config.json"),
    ),
    (
        "feedback.jsonl",
        include_bytes!("../../../../testdata/demo/feedback.jsonl"),
    ),
    (
        "prompts.jsonl",
        include_bytes!("../../../../testdata/demo/prompts.jsonl"),
    ),
];
const RECIPE: &str = include_str!("../../../../testdata/demo/kto.toml");
const JUDGE: &str = "lists";

/// Longest answer, in tokens.
const MAX_NEW_TOKENS: usize = 16;
/// Answers shown side by side.
const SHOWN: usize = 4;
/// Steps at the run's end that "after" averages over.
const LAST: usize = 10;

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let started = Instant::now();
    let out = match &args.out {
        Some(out) => out.clone(),
        None => free_folder(),
    };
    let judge = verifier::find(JUDGE)
        .map(Judge::Verifier)
        .ok_or_else(|| Error::internal("the demo's verifier is missing"))?;
    unpack(&out)?;
    let (start, run, prompts) = (
        out.join("start"),
        out.join("run"),
        out.join("prompts.jsonl"),
    );
    let sampling = Sampling {
        max_new_tokens: MAX_NEW_TOKENS,
        seed: args.seed,
        ..Sampling::default()
    };

    output.note("A small model answers requests it has never seen …");
    let cpu = Placement::default();
    let before = answers(&start, &prompts, &sampling, &cpu, output)?;

    output.note("\n… then learns from thumbs up and thumbs down alone (KTO) …");
    let mut session = Session::open(config(&out, args.seed)?, false)?;
    output.note(session.report());
    output.note(format_args!(
        "{} weights, class weights from the counts: {}",
        grouped(session.trained()),
        session.loss()
    ));
    let training = Instant::now();
    let steps = train(&mut session, output)?;
    let training = training.elapsed().as_secs_f64();

    output.note("\n… and answers the same requests again.");
    let after = answers(&run, &prompts, &sampling, &cpu, output)?;

    let (good_before, good_after) = (judge.desirable(&before)?, judge.desirable(&after)?);
    show(&before, &after, &good_before, &good_after, output);
    let report = Report {
        before: Rate::of(&good_before),
        after: Rate::of(&good_after),
        first: Summary::of(&steps[..steps.len().min(1)]),
        last: Summary::of(&steps[steps.len().saturating_sub(LAST)..]),
        steps: steps.len(),
        training,
        tokens_per_second: steps.iter().map(|s| s.metrics.tokens).sum::<u64>() as f64 / training,
        seconds: started.elapsed().as_secs_f64(),
        out: &out,
    };
    output.result(report.table(), &report.json());
    output.note(format_args!(
        "\nNext: look at {0}/run/metrics.jsonl and examples.jsonl, ask the model yourself\n  \
         halo generate --model {0}/run --prompts {0}/prompts.jsonl\nor train your own\n  halo train --help",
        out.display()
    ));
    Ok(())
}

/// The committed recipe, on the unpacked files.
fn config(out: &Path, seed: u64) -> Result<TrainConfig> {
    let recipe: TrainConfig =
        toml::from_str(RECIPE).map_err(|e| Error::internal(format!("kto.toml: {e}")))?;
    Ok(TrainConfig {
        model: out.join("start"),
        data: vec![out.join("feedback.jsonl")],
        output_dir: out.join("run"),
        seed,
        record_examples: true,
        ..recipe
    })
}

fn unpack(out: &Path) -> Result<()> {
    if out.exists() {
        return Err(Error::state(format!(
            "{} exists already; choose another --out",
            out.display()
        )));
    }
    for (name, contents) in FILES {
        let path = out.join(name);
        let folder = path.parent().unwrap_or(out);
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        fs::write(&path, contents).map_err(|e| Error::io(&path, e))?;
    }
    Ok(())
}

fn free_folder() -> PathBuf {
    std::iter::once("halo-demo".to_string())
        .chain((2..).map(|n| format!("halo-demo-{n}")))
        .map(PathBuf::from)
        .find(|folder| !folder.exists())
        .unwrap_or_default()
}

/// Some answers side by side, those that changed from wrong to right first.
fn show(
    before: &[Item],
    after: &[Item],
    good_before: &[bool],
    good_after: &[bool],
    output: &Output,
) {
    output.note("");
    let mut order: Vec<usize> = (0..before.len()).collect();
    order.sort_by_key(|&i| (good_before[i], !good_after[i]));
    let mark = |good: bool| if good { "right" } else { "wrong" };
    for &i in order.iter().take(SHOWN) {
        output.note(format_args!(
            "  {}\n    before ({}): {}\n    after  ({}): {}",
            before[i].prompt.trim(),
            mark(good_before[i]),
            before[i].completion.trim(),
            mark(good_after[i]),
            after[i].completion.trim()
        ));
    }
    output.note("");
}

/// Means over some steps.
struct Summary {
    z0: f64,
    z0_raw: f64,
    learnt: f64,
    active: f64,
    given_up: f64,
}

impl Summary {
    fn of(steps: &[Step]) -> Summary {
        let mean = |value: fn(&Step) -> f64| {
            steps.iter().map(value).sum::<f64>() / steps.len().max(1) as f64
        };
        Summary {
            z0: mean(|s| s.metrics.kl.unwrap_or(0.0)),
            z0_raw: mean(|s| s.metrics.kl_raw.unwrap_or(0.0)),
            learnt: mean(|s| s.metrics.learnt),
            active: mean(|s| s.metrics.active),
            given_up: mean(|s| s.metrics.given_up),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({ "z0": self.z0, "z0_raw": self.z0_raw, "learnt": self.learnt, "active": self.active, "given_up": self.given_up })
    }
}

struct Report<'a> {
    before: Rate,
    after: Rate,
    first: Summary,
    last: Summary,
    steps: usize,
    training: f64,
    tokens_per_second: f64,
    seconds: f64,
    out: &'a Path,
}

impl Report<'_> {
    fn table(&self) -> String {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let z0 = |s: &Summary| format!("{:.2} ({:+.2})", s.z0, s.z0_raw);
        let rows = [
            (
                "desirable answers [90 % interval]",
                self.before.to_string(),
                self.after.to_string(),
            ),
            (
                "z0 in nats (before its clamp at 0)",
                z0(&self.first),
                z0(&self.last),
            ),
            (
                "examples learnt",
                percent(self.first.learnt),
                percent(self.last.learnt),
            ),
            (
                "examples active",
                percent(self.first.active),
                percent(self.last.active),
            ),
            (
                "examples given up",
                percent(self.first.given_up),
                percent(self.last.given_up),
            ),
        ];
        let mut text = format!(
            "{:36}{:24}{}\n",
            format!("{} held-out requests", self.before.n),
            "before",
            "after"
        );
        for (name, before, after) in rows {
            text += &format!("{name:36}{before:24}{after}\n");
        }
        text + &format!(
            "{} steps in {:.1} s, {:.0} tokens/s; {:.1} s in all; the run is in {}",
            self.steps,
            self.training,
            self.tokens_per_second,
            self.seconds,
            self.out.display()
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "desirable_before": self.before,
            "desirable_after": self.after,
            "first_step": self.first.json(),
            "last_steps": self.last.json(),
            "steps": self.steps,
            "training_seconds": self.training,
            "tokens_per_second": self.tokens_per_second,
            "seconds": self.seconds,
            "out": self.out,
        })
    }
}
