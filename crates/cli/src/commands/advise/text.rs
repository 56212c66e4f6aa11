//! The report for people.

use std::fmt::Write;

use halo_core::advise::{Contents, Quantiles, Report, Start};
use halo_loss::advice::{Candidate, Fit};
use halo_loss::saturation::{Axis, Bounds};

use crate::commands::losses::words;
use crate::commands::train::grouped;

/// What the data is, what was found, and the first `top` of the ranking.
pub(super) fn report(report: &Report, counted_in: &str, top: usize) -> String {
    let mut text = contents(&report.contents);
    let counts = &report.diagnosis.counts;
    let lengths = &report.diagnosis.lengths;
    line(
        &mut text,
        format_args!(
            "  {} desirable and {} undesirable completions over {} prompts",
            grouped(counts.desirable as usize),
            grouped(counts.undesirable as usize),
            grouped(counts.prompts as usize)
        ),
    );
    if let (Some(good), Some(bad)) = (lengths.desirable, lengths.undesirable) {
        line(
            &mut text,
            format_args!(
                "  mean length in {counted_in}: desirable {good:.1}, undesirable {bad:.1}"
            ),
        );
    }
    if counted_in == "words" {
        text += "  (no tokenizer: lengths are in words between blanks, equal texts are found by the hash of their words, and what \
                 a limit would cut is not known)\n";
    }
    text += "\nWhat it is like:\n";
    for finding in &report.advice.traits {
        let name = words(&format!("{:?}", finding.data));
        line(&mut text, format_args!("  {name}: {}", finding.evidence));
    }
    for unknown in &report.advice.unknown {
        line(&mut text, format_args!("  not known: {unknown}"));
    }
    if !report.advice.warnings.is_empty() {
        text += "\nBefore training:\n";
        for warning in &report.advice.warnings {
            line(&mut text, format_args!("  {warning}"));
        }
    }
    text += "\nLosses, the most fitting first (scores rank, they measure nothing):\n";
    for (index, one) in report.advice.ranking.iter().take(top).enumerate() {
        candidate(&mut text, one, report.proposed == Some(index));
    }
    let more = report.advice.ranking.len().saturating_sub(top);
    if more > 0 {
        line(&mut text, format_args!("  and {more} more (--top N)"));
    }
    text
}

fn contents(contents: &Contents) -> String {
    let mut text = format!("{} lines:", grouped(contents.lines));
    let kinds = [
        (contents.pairs, "pairs"),
        (contents.labelled, "completions with a label"),
        (contents.scored, "completions with a score"),
        (contents.unjudged, "completions without any judgement"),
    ];
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<_> = kinds
        .map(|(count, what)| format!(" {} {what}", grouped(*count)))
        .collect();
    text += &kinds.join(",");
    text += "\n";
    if let Some(threshold) = contents.score_threshold {
        line(
            &mut text,
            format_args!("  a score of {threshold} or more counts as desirable"),
        );
    }
    if let Some(near) = contents.near_same {
        line(
            &mut text,
            format_args!("  pairs whose completions share four fifths of their words: {near}"),
        );
    }
    for (count, what) in [
        (contents.empty, "left out: nothing is written"),
        (contents.lost, "left out: the length limit leaves nothing"),
    ] {
        if count > 0 {
            line(&mut text, format_args!("  {} {what}", grouped(count)));
        }
    }
    text
}

fn candidate(text: &mut String, candidate: &Candidate, proposed: bool) {
    let mark = match proposed {
        true => "  <- proposed",
        false => "",
    };
    let proposal = &candidate.proposal;
    line(
        text,
        format_args!("  {} ({:+}){mark}", proposal.loss, candidate.score),
    );
    if let Some(why) = &candidate.blocked {
        line(text, format_args!("      cannot: {why}"));
    }
    let mut list = |word: &str, fits: &[&Fit]| {
        for fit in fits {
            line(
                text,
                format_args!("      {word} ({}): {}", fit.strength, fit.reason),
            );
        }
    };
    list("for", &candidate.reasons_for);
    list("against", &candidate.reasons_against);
    for note in &candidate.notes {
        line(text, format_args!("      note: {note}"));
    }
    for (name, value) in proposal.params.iter() {
        line(text, format_args!("      --set {name}={value}"));
    }
}

/// Where the examples stand.
pub(super) fn start(start: &Start) -> String {
    let mut text = format!(
        "\nBefore training, {} of {} completions under the model:\n",
        grouped(start.measured),
        grouped(start.of)
    );
    spread(&mut text, "log-probability, nats", &start.logps);
    match &start.log_ratios {
        Some(ratios) => spread(&mut text, "log-ratio to the reference, nats", ratios),
        None => {
            text += "  log-ratio: 0 for every completion, because the reference is the model as it starts (--reference DIR \
                     compares another)\n";
        }
    }
    line(
        &mut text,
        format_args!("  {}", moves(&start.loss, &start.bounds)),
    );
    // No probability exceeds 1: that bounds what a desirable completion can gain.
    if let (Axis::Gain, Some(learnt), Some(good)) =
        (start.bounds.axis, start.bounds.learnt, start.logps[0])
        && -good.median < learnt
    {
        line(
            &mut text,
            format_args!(
                "  half of the desirable completions can gain {:.1} nats at most, then they are certain: with this loss's beta they \
                 stay active to the end; a larger beta counts them as learnt sooner",
                -good.median
            ),
        );
    }
    if let Some(zones) = start.zones.filter(|_| start.log_ratios.is_some()) {
        for (label, count) in ["desirable", "undesirable"].iter().zip(zones) {
            line(
                &mut text,
                format_args!(
                    "  {label}: {} learnt, {} active, {} given up already",
                    count.learnt, count.active, count.given_up
                ),
            );
        }
    }
    text
}

fn spread(text: &mut String, what: &str, labels: &[Option<Quantiles>; 2]) {
    for (label, quantiles) in ["desirable", "undesirable"].iter().zip(labels) {
        if let Some(q) = quantiles {
            line(
                text,
                format_args!(
                    "  {what}, {label}: median {:.2}, half between {:.2} and {:.2}, all between {:.2} and {:.2}",
                    q.median, q.lower, q.upper, q.least, q.most
                ),
            );
        }
    }
}

/// How far an example has to go.
fn moves(loss: &str, bounds: &Bounds) -> String {
    let who = match bounds.axis {
        Axis::None => return format!("{loss} never lets go: every completion pulls to the end"),
        Axis::Gain => "a completion's log-ratio less the reference point",
        Axis::Margin => "a pair's log-ratios",
    };
    let learnt = match bounds.learnt {
        Some(nats) => format!("counts as learnt {nats:.1} nats on the right side"),
        None => "is never learnt".into(),
    };
    let given_up = match bounds.given_up {
        Some(nats) => format!("as given up {:.1} nats on the wrong side", -nats),
        None => "is never given up".into(),
    };
    format!("under {loss} ({who}) an example {learnt}, and {given_up}")
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // writing to a string cannot fail
    let _ = writeln!(text, "{what}");
}
