//! `cargo xtask docs`: what is written about the losses, from the registry itself.
//!
//! docs/losses.md is generated whole; in README.md only what stands between the two markers.

use std::fmt::{Debug, Write};
use std::fs;

use halo_loss::{Spec, registry};

use crate::shell::{Outcome, root};

const GUIDE: &str = "docs/losses.md";
const README: &str = "README.md";
const OPEN: &str = "<!-- losses: written by cargo xtask docs -->\n";
const CLOSE: &str = "<!-- end of losses -->";

/// Writes both.
pub(crate) fn write(_: &[String]) -> Outcome {
    for (file, text) in documents()? {
        fs::write(root().join(file), text).map_err(|error| format!("{file}: {error}"))?;
        println!("wrote {file}");
    }
    Ok(())
}

/// Refuses documents that the registry would write otherwise.
pub(crate) fn check() -> Outcome {
    for (file, text) in documents()? {
        if read(file)? != text {
            return Err(format!(
                "{file} does not say what the registry says: run `cargo xtask docs` and commit"
            ));
        }
        println!("{file} is as the registry says");
    }
    Ok(())
}

fn documents() -> Result<[(&'static str, String); 2], String> {
    let readme = read(README)?;
    let marked = readme
        .split_once(OPEN)
        .and_then(|(before, rest)| Some((before, rest.split_once(CLOSE)?.1)));
    let Some((before, after)) = marked else {
        return Err(format!("{README}: the markers of the losses are gone"));
    };
    let readme = format!("{before}{OPEN}{}{CLOSE}{after}", table());
    Ok([(GUIDE, guide()), (README, readme)])
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))
}

fn table() -> String {
    let mut text = String::from("| loss | what | data | needs | paper |\n|---|---|---|---|---|\n");
    for spec in registry() {
        text += &format!(
            "| [`{0}`]({GUIDE}#{0}) | {1} | {2} | {3} | {4} |\n",
            spec.name,
            spec.title,
            words(&spec.shape),
            needs(spec),
            paper(spec, spec.arxiv),
        );
    }
    text
}

fn guide() -> String {
    let mut text = String::from(
        "# The losses\n\n\
         Written by `cargo xtask docs` from the registry (`crates/loss/src/losses/`); `halo losses NAME` says the same. r is a \
         log-ratio in nats, s = ±1 the label's sign, z0 the reference point. Parameters are given as `--set key=value`, or under \
         `[loss_parameters]` in a TOML file.\n",
    );
    for spec in registry() {
        text += &section(spec);
    }
    text
}

fn section(spec: &Spec) -> String {
    let mut text = format!(
        "\n## {}\n\n**{}.** {}\n\n```\n{}\n```\n\n",
        spec.name, spec.title, spec.when_to_use, spec.formula
    );
    text += &format!("- **Data**: {}\n", words(&spec.shape));
    text += &format!("- **Needs**: {}\n", needs(spec));
    text += &format!("- **Paper**: {}\n", paper(spec, spec.paper));
    text += &format!("- **Elsewhere**: {}\n", spec.implementations);
    if !spec.params.is_empty() {
        text += "\n| parameter | default | allowed | meaning |\n|---|---|---|---|\n";
    }
    for param in spec.params {
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            param.name,
            param.default(),
            param.allowed(),
            param.meaning
        );
    }
    text
}

fn needs(spec: &Spec) -> String {
    let needs: Vec<_> = spec.needs.iter().map(words).collect();
    match needs.is_empty() {
        true => "nothing".into(),
        false => needs.join(", "),
    }
}

fn paper(spec: &Spec, label: &str) -> String {
    match spec.arxiv {
        "" => spec.paper.into(),
        arxiv => format!("[{label}](https://arxiv.org/abs/{arxiv})"),
    }
}

/// A name of Rust in words: `ReferencePoint` as "reference point".
fn words(name: &impl Debug) -> String {
    let mut text = String::new();
    for letter in format!("{name:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_documents_have_every_loss_and_parameter() {
        for spec in registry() {
            assert!(table().contains(&format!("`{}`", spec.name)));
            assert!(guide().contains(&format!("\n## {}\n", spec.name)));
            for param in spec.params {
                assert!(section(spec).contains(&format!("| `{}` |", param.name)));
            }
        }
    }

    #[test]
    fn a_table_row_has_no_stray_columns() {
        for line in table().lines() {
            assert_eq!(line.matches('|').count(), 6, "{line}");
        }
        for line in guide().lines().filter(|line| line.starts_with("| `")) {
            assert_eq!(line.matches('|').count(), 5, "{line}");
        }
    }
}
