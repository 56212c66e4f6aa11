//! docs/losses.md: a section for every loss, and README's table.

use halo_loss::advice::{Fit, Stance};
use halo_loss::{COMPAT, DataShape, Loss, Need, Params, Spec, registry};

use super::text::{SHAPES, needs, paper, params, table as rows, words};
use super::{GUIDE, plots, sections};

const HEAD: &str = "# The losses\n\n\
Written by `cargo xtask docs` from the registry (`crates/loss/src/losses/`); `halo losses NAME` says the same of one loss.\n\n\
In the formulas r = ln π(y|x) − ln π_ref(y|x) is a log-ratio in nats, a = ln π(y|x) / n the mean log-probability of the n completion \
tokens, s = ±1 the label's sign, z0 the reference point, A an advantage, ρ a ratio of probabilities; w is the chosen answer of a pair, \
l the rejected one. Log-probabilities are sums over completion tokens unless a formula divides them.\n\n\
Parameters are given as `--set key=value`, or under `[loss_parameters]` in a TOML file. The plots show each loss at its defaults: its value, \
and the pull −dL/d ln π, which is positive where the answer is made more likely.\n";

/// README's table.
pub(super) fn table() -> String {
    let row = |spec: &&Spec| {
        vec![
            format!("[`{0}`]({GUIDE}#{0})", spec.name),
            spec.title.to_string(),
            words(&spec.shape),
            paper(spec, spec.arxiv),
        ]
    };
    let cells = SHAPES
        .iter()
        .flat_map(|(shape, ..)| of(*shape).map(|spec| row(&spec)));
    rows(&["loss", "what", "data", "paper"], cells)
}

fn of(shape: DataShape) -> impl Iterator<Item = &'static Spec> {
    registry()
        .iter()
        .copied()
        .filter(move |spec| spec.shape == shape)
}

/// The whole page.
pub(super) fn guide() -> Result<String, String> {
    let mut text = String::from(HEAD);
    text += &contents();
    for (shape, title, meaning) in SHAPES {
        text += &format!("\n## {title}\n\n{meaning}\n");
        for spec in of(shape) {
            text += &section(spec)?;
        }
    }
    text += &sections::modifiers();
    text += &sections::reference_points()?;
    text += &sections::advantages()?;
    text += sections::SUMS;
    text += sections::SCHEDULES;
    text += &sections::side_by_side();
    Ok(text)
}

fn contents() -> String {
    let mut text = String::from("\n");
    for (shape, title, _) in SHAPES {
        let names: Vec<_> = of(shape).map(|spec| link(spec.name)).collect();
        text += &format!("- **{title}**: {}\n", names.join(", "));
    }
    let sections: Vec<_> = sections::TITLES
        .iter()
        .map(|title| format!("[{title}](#{})", title.to_lowercase().replace(' ', "-")))
        .collect();
    text + &format!("- **What else can be set**: {}\n", sections.join(", "))
}

/// A name with its section.
pub(super) fn link(name: &str) -> String {
    format!("[`{name}`](#{name})")
}

pub(super) fn section(spec: &Spec) -> Result<String, String> {
    let (_, caption) = plots::plot(spec)?;
    let formula = spec.formula.replace(";  ", "\n").replace(",  ", "\n  ");
    let mut text = format!(
        "\n### {0}\n\n**{1}.** {2}\n\n```\n{formula}\n```\n\n![{0}: value and gradient](plots/{0}.svg)\n\n*{caption}*\n\n",
        spec.name, spec.title, spec.when_to_use
    );
    text += &fits(spec.fits, Stance::For);
    text += &fits(spec.fits, Stance::Against);
    text += &format!("- **Needs**: {}\n", needed(spec)?);
    let modifiers: Vec<_> = spec
        .modifiers
        .iter()
        .map(|modifier| modifier_link(modifier.name))
        .collect();
    text += &format!(
        "- **Modifiers**: {}\n",
        match modifiers.is_empty() {
            true => "none".into(),
            false => modifiers.join(", "),
        }
    );
    for preset in spec.presets {
        text += &format!(
            "- **`{COMPAT} = {}`** sets {}\n",
            preset.name,
            values(preset.values)
        );
    }
    text += &format!("- **Paper**: {}\n", paper(spec, spec.paper));
    text += &format!("- **Elsewhere**: {}\n", spec.implementations);
    if !spec.params.is_empty() {
        text += &format!("\n{}", params(spec.params));
    }
    Ok(text)
}

/// A modifier's section; its heading is longer than its name, which losses have as headings of parameters too.
pub(super) fn modifier_link(name: &str) -> String {
    format!("[`{name}`](#modifier-{name})")
}

pub(super) fn values(values: &[(&str, &str)]) -> String {
    let values: Vec<_> = values
        .iter()
        .map(|(key, value)| format!("`{key} = {value}`"))
        .collect();
    values.join(", ")
}

fn fits(fits: &[Fit], stance: Stance) -> String {
    let reasons: Vec<_> = fits
        .iter()
        .filter(|fit| fit.stance == stance)
        .map(|fit| format!("  - *{}*: {}\n", words(&fit.data), fit.reason))
        .collect();
    match reasons.is_empty() {
        true => String::new(),
        false => format!("- **{stance:?}**\n{}", reasons.concat()),
    }
}

/// What it needs at its defaults, and what other parameters may ask for.
fn needed(spec: &Spec) -> Result<String, String> {
    let loss = Loss::new(spec.name, &Params::new()).map_err(|error| error.to_string())?;
    let (now, other): (Vec<Need>, Vec<Need>) =
        spec.needs.iter().partition(|need| loss.needs(**need));
    Ok(match other.is_empty() {
        true => needs(&now),
        false => format!("{}; with other parameters {}", needs(&now), needs(&other)),
    })
}
