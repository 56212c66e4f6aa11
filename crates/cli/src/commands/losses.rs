//! `halo losses`

use halo_core::Result;
use halo_loss::{Spec, find, registry};

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
            let width = registry()
                .iter()
                .map(|spec| spec.name.len())
                .max()
                .unwrap_or(0);
            for spec in registry() {
                println!("{:width$}  {}", spec.name, spec.title);
            }
            output.note("\n`halo losses NAME` gives formula, parameters, needs and paper.");
        }
    }
    Ok(())
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
    if !spec.params.is_empty() {
        text += "\nParameters (--set key=value):\n";
        let width = spec
            .params
            .iter()
            .map(|param| param.name.len())
            .max()
            .unwrap_or(0);
        for param in spec.params {
            text += &format!(
                "  {:width$}  {}\n  {:width$}  default {}; allowed: {}\n",
                param.name,
                param.meaning,
                "",
                param.default(),
                param.allowed()
            );
        }
    }
    text + &format!("\nElsewhere: {}", spec.implementations)
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
