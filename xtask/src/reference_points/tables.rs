//! What the study found, as Markdown.

use halo_loss::Estimator;
use halo_loss::reference_point::NAMES;

use super::data::Behaviour;
use super::measure::{Measured, Score};
use super::{SHARES, SIBLINGS, SIZES, Study, TARGETS};

/// A column of the large tables: a heading and a number of a score.
type Column = (&'static str, fn(&Score) -> String);

const COLUMNS: &[Column] = &[
    ("raw", |score| nats(score.raw())),
    ("used", |score| nats(score.value())),
    ("bias", |score| nats(score.bias())),
    ("sd", |score| nats(score.deviation())),
    ("RMSE", |score| nats(score.rmse())),
    ("clamped", |score| percent(score.clamped())),
    ("weight", |score| percent(score.change())),
];

/// One number of every estimator at the middle distance: behaviours × sizes.
pub(super) fn overview(study: &Study, number: fn(&Score) -> String) -> String {
    let of = |behaviour, size| find(&study.distinct[1], behaviour, size);
    let cells: Vec<_> = Behaviour::ALL
        .into_iter()
        .flat_map(|behaviour| SIZES.map(|size| (behaviour, size)))
        .collect();
    let mut text = header(
        "estimator",
        cells
            .iter()
            .map(|(behaviour, size)| format!("{}, {size}", short(*behaviour))),
    );
    for (i, name) in NAMES.iter().enumerate() {
        let numbers = cells
            .iter()
            .map(|(behaviour, size)| match of(*behaviour, *size) {
                Some(measured) => number(&measured.scores[i]),
                None => String::new(),
            });
        text += &line(&format!("`{name}`"), numbers);
    }
    text
}

/// Bias at the largest batch, at each distance: what more rows do not mend.
pub(super) fn bias(study: &Study) -> String {
    let cells: Vec<_> = (0..TARGETS.len())
        .flat_map(|d| Behaviour::ALL.map(|behaviour| (d, behaviour)))
        .collect();
    let heading =
        |(d, behaviour): &(usize, Behaviour)| format!("{}, KL {}", short(*behaviour), TARGETS[*d]);
    let mut text = header("estimator", cells.iter().map(heading));
    for (i, name) in NAMES.iter().enumerate() {
        let numbers = cells.iter().map(|(d, behaviour)| {
            find(&study.distinct[*d], *behaviour, SIZES[2])
                .map_or_else(String::new, |measured| nats(measured.scores[i].bias()))
        });
        text += &line(&format!("`{name}`"), numbers);
    }
    text
}

/// What mismatched answers measure, by how much the prompts have in common.
pub(super) fn mismatched(study: &Study) -> String {
    let mut text = header(
        "common to all prompts",
        [
            "exact KL",
            "mean log-ratio, y′ the policy's",
            "y′ the reference's",
        ]
        .map(String::from)
        .into_iter(),
    );
    for (share, (exact, policy, reference)) in SHARES.iter().zip(&study.mismatched) {
        let numbers = [exact, policy, reference].map(|x| nats(*x));
        text += &line(&percent(*share), numbers.into_iter());
    }
    text
}

/// Where mismatched answers do measure the divergence.
pub(super) fn common(study: &Study) -> String {
    let headings = SIZES
        .iter()
        .flat_map(|size| ["bias", "sd", "RMSE"].map(|what| format!("{what}, {size}")));
    let mut text = header("estimator", headings);
    for (i, name) in NAMES
        .iter()
        .enumerate()
        .filter(|(_, name)| **name != "uniform")
    {
        let scores = study.common.iter().map(|measured| &measured.scores[i]);
        let numbers =
            scores.flat_map(|score| [score.bias(), score.deviation(), score.rmse()].map(nats));
        text += &line(&format!("`{name}`"), numbers);
    }
    text
}

/// Several answers to a prompt: how far from the mean divergence and from the prompt's own.
pub(super) fn siblings(study: &Study) -> String {
    let mut text = String::new();
    for (measured, target) in study.siblings.iter().zip(TARGETS) {
        text += &format!("\nKL {target}:\n\n");
        let headings = Behaviour::ALL.iter().flat_map(|behaviour| {
            ["used", "RMSE", "own RMSE", "weight"]
                .map(|what| format!("{}, {what}", short(*behaviour)))
        });
        text += &header("estimator, rows", headings);
        for size in [SIBLINGS * 2, SIBLINGS * 8] {
            for (i, name) in NAMES.iter().enumerate() {
                if !["mismatch", "batch_mean", "leave_one_out", "per_prompt"].contains(name) {
                    continue;
                }
                let numbers = Behaviour::ALL.iter().flat_map(|behaviour| {
                    let score = find(measured, *behaviour, size)
                        .map_or_else(Score::default, |m| m.scores[i]);
                    [
                        nats(score.value()),
                        nats(score.rmse()),
                        nats(score.own_rmse()),
                        percent(score.change()),
                    ]
                });
                text += &line(&format!("`{name}`, {size}"), numbers);
            }
        }
    }
    text
}

/// Everything.
pub(super) fn all(study: &Study) -> String {
    let mut text = String::new();
    for (measured, target) in study.distinct.iter().zip(TARGETS) {
        for behaviour in Behaviour::ALL {
            let cases: Vec<_> = SIZES
                .iter()
                .filter_map(|size| find(measured, behaviour, *size))
                .collect();
            let exact = cases.first().map_or(0.0, |case| case.exact);
            text += &format!(
                "\n### KL {target}, {}\n\nExact: {} nats.\n\n",
                behaviour.phrase(),
                nats(exact)
            );
            let headings = COLUMNS.iter().map(|(heading, _)| heading.to_string());
            text += &header("estimator | rows", headings);
            for (i, name) in NAMES.iter().enumerate() {
                for case in &cases {
                    let numbers = COLUMNS.iter().map(|(_, number)| number(&case.scores[i]));
                    text += &line(&format!("`{name}` | {}", case.case.size), numbers);
                }
            }
        }
    }
    text
}

/// What each estimator says of itself.
pub(super) fn meanings() -> String {
    let mut text = String::new();
    for estimator in NAMES.iter().filter_map(|name| Estimator::new(name).ok()) {
        text += &format!("- `{}`: {}\n", estimator.name(), estimator.meaning());
    }
    text
}

pub(super) fn find(measured: &[Measured], behaviour: Behaviour, size: usize) -> Option<&Measured> {
    let mut all = measured.iter();
    all.find(|m| m.case.behaviour == behaviour && m.case.size == size)
}

pub(super) fn short(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::Policy => "π",
        Behaviour::Reference => "π_ref",
        Behaviour::Picked => "picked",
    }
}

fn header(first: &str, headings: impl Iterator<Item = String>) -> String {
    let headings: Vec<_> = headings.collect();
    let columns = first.matches('|').count() + 1;
    let rule = "---|".repeat(columns) + &"--:|".repeat(headings.len());
    format!("{}|{rule}\n", line(first, headings.into_iter()))
}

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {first} | {} |\n", cells.join(" | "))
}

/// Three digits after the point; what rounds to nothing has no sign.
pub(super) fn nats(x: f64) -> String {
    let text = format!("{x:.3}");
    match text.as_str() {
        "-0.000" => "0.000".into(),
        _ => text,
    }
}

/// One digit after the point; a dash for what is no number.
pub(super) fn percent(x: f64) -> String {
    match x.is_nan() {
        true => "–".into(),
        false => format!("{:.1} %", 100.0 * x),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_rule_as_wide_as_its_rows() {
        let text = header("a | b", ["c".to_string()].into_iter())
            + &line("1 | 2", ["3".to_string()].into_iter());
        assert_eq!(text, "| a | b | c |\n|---|---|--:|\n| 1 | 2 | 3 |\n");
        assert_eq!(
            (nats(-0.0001), percent(0.1234)),
            ("0.000".into(), "12.3 %".into())
        );
    }
}
