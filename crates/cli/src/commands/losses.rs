//! `halo losses`

use halo_core::Result;
use halo_loss::{COMPAT, DataShape, ParamSpec, Spec, find, registry};

use crate::output::Output;

/// List the losses, or explain one
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The loss to explain
    name: Option<String>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    match &args.name {
        Some(name) => {
            let spec = find(name)?;
            output.result(explanation(spec), spec);
        }
        None if output.json => output.line(&registry()),
        None => {
            print!("{}", listing());
            output.note("\n`halo losses NAME` gives formula, parameters, modifiers, presets, needs and paper.");
        }
    }
    Ok(())
}

/// All of them, by the shape of their data.
fn listing() -> String {
    let width = widest(registry().iter().map(|spec| spec.name));
    let shapes = [
        (DataShape::Unpaired, "Single judged answers"),
        (DataShape::Paired, "Pairs"),
        (DataShape::Grouped, "Groups with rewards"),
        (DataShape::Any, "Any rows"),
    ];
    let mut groups = Vec::new();
    for (shape, title) in shapes {
        let mut text = format!("{title}:\n");
        for spec in registry().iter().filter(|spec| spec.shape == shape) {
            text += &format!("  {:width$}  {}\n", spec.name, spec.title);
        }
        groups.push(text);
    }
    groups.join("\n")
}

fn widest(names: impl Iterator<Item = &'static str>) -> usize {
    names.map(str::len).max().unwrap_or(0)
}

fn explanation(spec: &Spec) -> String {
    let mut text = format!(
        "{}: {}\n\n  {}\n\n",
        spec.name,
        spec.title,
        spec.formula.replace('\n', "\n  ")
    );
    text += &format!(
        "{}\n\nPaper: {} (arXiv {})\n",
        spec.when_to_use, spec.paper, spec.arxiv
    );
    let needs: Vec<_> = spec
        .needs
        .iter()
        .map(|need| words(&format!("{need:?}")))
        .collect();
    text += &format!(
        "Data: {}\nNeeds: {}\n",
        words(&format!("{:?}", spec.shape)),
        needs.join(", ")
    );
    let width = widest(spec.all_params().map(|param| param.name));
    if !spec.params.is_empty() {
        text += "\nParameters (--set key=value):\n";
        text += &parameters(spec.params, width);
    }
    if !spec.modifiers.is_empty() {
        text += "\nModifiers that fit (the same way; off by default):\n";
    }
    for modifier in spec.modifiers {
        text += &parameters(modifier.params, width);
    }
    if !spec.presets.is_empty() {
        text += &format!("\nPresets (--set {COMPAT}=NAME):\n");
    }
    for preset in spec.presets {
        let values: Vec<_> = preset
            .values
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        text += &format!("  {:width$}  {}\n", preset.name, values.join(", "));
    }
    text + &format!("\nElsewhere: {}", spec.implementations)
}

fn parameters(params: &[ParamSpec], width: usize) -> String {
    let mut text = String::new();
    for param in params {
        text += &format!(
            "  {:width$}  {}\n  {:width$}  default {}; allowed: {}\n",
            param.name,
            param.meaning,
            "",
            param.default(),
            param.allowed()
        );
    }
    text
}

/// `ReferencePoint` as "reference point".
pub(super) fn words(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(c.to_lowercase());
    }
    text
}
