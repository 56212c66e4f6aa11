//! Words, cells and tables of Markdown.

use std::fmt::Debug;

use halo_loss::{DataShape, Need, ParamSpec, Spec};

/// The groups of the registry, in the order of the pages, with what their data is.
pub(super) const SHAPES: [(DataShape, &str, &str); 4] = [
    (
        DataShape::Unpaired,
        "Single judged answers",
        "Each row for itself, with its label: thumbs up, thumbs down.",
    ),
    (
        DataShape::Paired,
        "Pairs",
        "Two answers to one prompt, one of them preferred.",
    ),
    (
        DataShape::Grouped,
        "Groups with rewards",
        "Several answers to one prompt, each with a reward: policy gradients.",
    ),
    (
        DataShape::Any,
        "Any rows",
        "Labels are not read: imitation.",
    ),
];

/// A table with a head; its cells are escaped.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    let mut text = format!("{}|{}\n", row(&head), "---|".repeat(head.len()));
    for cells in rows {
        text += &row(&cells);
    }
    text
}

pub(super) fn params(params: &[ParamSpec]) -> String {
    let rows = params.iter().map(|param| {
        vec![
            format!("`{}`", param.name),
            param.default().to_string(),
            param.allowed(),
            param.meaning.to_string(),
        ]
    });
    table(&["parameter", "default", "allowed", "meaning"], rows)
}

pub(super) fn needs(needs: &[Need]) -> String {
    match needs.is_empty() {
        true => "nothing".into(),
        false => needs.iter().map(need).collect::<Vec<_>>().join(", "),
    }
}

fn need(need: &Need) -> String {
    match need {
        Need::TokenLogps => "log-probabilities of each token".into(),
        Need::OldLogps => "log-probabilities at sampling time".into(),
        Need::VocabStats => "statistics over the vocabulary".into(),
        _ => words(need),
    }
}

pub(super) fn paper(spec: &Spec, label: &str) -> String {
    match spec.arxiv {
        "" => spec.paper.into(),
        arxiv => format!("[{label}](https://arxiv.org/abs/{arxiv})"),
    }
}

/// A name of Rust in words: `ReferencePoint` as "reference point".
pub(super) fn words(name: &impl Debug) -> String {
    let mut text = String::new();
    for letter in format!("{name:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
