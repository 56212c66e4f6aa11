//! `halo saturation`

use std::fmt::Write;
use std::path::PathBuf;

use halo_core::saturation::{BETAS, Example, Inspection, Options, Standing, inspect, read};
use halo_core::{Error, Result};
use halo_loss::saturation::Counts;

use super::losses::words;
use crate::output::Output;

/// See which examples of a run are learnt, active or given up, and what another loss or beta would make of them
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// A run's folder, or an examples.jsonl
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Losses to compare [default: all of the same data shape that the recorded columns suffice for]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    losses: Vec<String>,
    /// Their betas
    #[arg(long, value_name = "BETAS", value_delimiter = ',', default_values_t = BETAS)]
    betas: Vec<f64>,
    /// Examples to name
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Look at the run as it stood at this step: the last sight of each example up to it
    #[arg(long, value_name = "STEP")]
    step: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  halo train --config run.toml --record-examples --out run
  halo saturation run
  halo saturation run --losses kto,bco --betas 0.05,0.1 --step 100

A loss pulls at an example with a slope. Where the slope has fallen below a hundredth of its steepest, the example is learnt (on
the right side) or given up (on the wrong side): no further step moves it. Few active examples early in a run say that beta is
too large; many given-up ones, that labels are wrong or the cases hard. The grid asks what other losses would make of the same
log-probabilities, without training again.";

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    if let Some(beta) = args
        .betas
        .iter()
        .find(|beta| beta.is_nan() || **beta <= 0.0)
    {
        let message = format!("betas: {beta}; allowed: above 0");
        return Err(Error::parameter(message).with_argument("betas"));
    }
    let recording = read(&args.run, args.step)?;
    let inspection = inspect(
        &recording,
        &Options {
            losses: args.losses.clone(),
            betas: args.betas.clone(),
            top: args.top,
        },
    )?;
    output.result(text(&inspection).trim_end(), &inspection);
    Ok(())
}

fn text(found: &Inspection) -> String {
    let what = match found.pairs {
        true => format!("{} pairs", found.examples / 2),
        false => format!("{} examples", found.examples),
    };
    let mut text = format!(
        "{what} under {}, each as it was seen last (steps {} to {}):\n",
        found.loss, found.steps[0], found.steps[1]
    );
    match &found.own {
        Some(own) => standing(&mut text, own, found.pairs),
        None => {
            let missing: Vec<_> = found
                .missing
                .iter()
                .map(|need| words(&format!("{need:?}")))
                .collect();
            line(
                &mut text,
                format_args!(
                    "  not known: it also reads {}, which is not recorded",
                    missing.join(", ")
                ),
            );
        }
    }
    if found.grid.is_empty() {
        text += "\nNo loss of this data shape can be computed from the recorded columns.\n";
    } else {
        grid(&mut text, found);
    }
    if found.own.is_some() {
        furthest(&mut text, &found.furthest);
    }
    text
}

fn standing(text: &mut String, own: &Standing, pairs: bool) {
    for (label, counts) in labels(pairs).iter().zip(own.counts) {
        line(
            text,
            format_args!(
                "  {label}: {} learnt, {} active, {} given up",
                counts.learnt, counts.active, counts.given_up
            ),
        );
    }
    let bound = |nats: Option<f64>| nats.map_or("never".into(), |nats| format!("{nats:.2} nats"));
    line(
        text,
        format_args!(
            "  learnt above: {}; given up below: {}",
            bound(own.bounds.learnt),
            bound(own.bounds.given_up)
        ),
    );
}

/// Of pairs both sides stand where their pair does: once is enough.
fn labels(pairs: bool) -> &'static [&'static str] {
    match pairs {
        true => &["pairs"],
        false => &["desirable", "undesirable"],
    }
}

fn grid(text: &mut String, found: &Inspection) {
    let width = found.grid.iter().map(|cell| cell.loss.len());
    let width = width.max().unwrap_or_default().max(4);
    text.push_str(
        "\nThe same log-probabilities under other losses, in % learnt / active / given up:\n",
    );
    let mut head = format!("  {:width$}  {:>6}", "loss", "beta");
    for label in labels(found.pairs) {
        head += &format!("  {label:>21}");
    }
    line(text, format_args!("{head}"));
    for cell in &found.grid {
        let beta = cell.beta.map_or("-".into(), |beta| beta.to_string());
        let mut row = format!("  {:width$}  {beta:>6}", cell.loss);
        for (_, counts) in labels(found.pairs).iter().zip(cell.counts) {
            row += &format!("  {:>21}", shares(counts));
        }
        line(text, format_args!("{row}"));
    }
}

fn shares(counts: Counts) -> String {
    let all = counts.total();
    if all == 0 {
        return "none".into();
    }
    let share = |count: u64| 100.0 * count as f64 / all as f64;
    format!(
        "{:.1} / {:.1} / {:.1}",
        share(counts.learnt),
        share(counts.active),
        share(counts.given_up)
    )
}

fn furthest(text: &mut String, examples: &[Example]) {
    if examples.is_empty() {
        text.push_str("\nNo example is on the wrong side.\n");
        return;
    }
    text.push_str("\nFurthest on the wrong side: likely label errors or hard cases\n");
    for example in examples {
        let label = words(&format!("{:?}", example.label));
        let mut row = match &example.rejected {
            Some(rejected) => format!(
                "  {} over {rejected}: progress {:.2} nats",
                example.id, example.progress
            ),
            None => format!(
                "  {} ({label}): progress {:.2} nats",
                example.id, example.progress
            ),
        };
        if let Some(ratio) = example.log_ratio {
            row += &format!(", log-ratio {ratio:.2}");
        }
        if let Some(z0) = example.z0 {
            row += &format!(", z0 {z0:.2}");
        }
        let zone = words(&format!("{:?}", example.zone));
        let share = 100.0 * example.slope_share;
        line(
            text,
            format_args!("{row}, {zone}, {share:.2} % of the pull"),
        );
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // writing to a string cannot fail
    let _ = writeln!(text, "{what}");
}
