//! `cargo xtask docs`: what is written about the losses, from the registry itself.
//!
//! docs/losses.md and the plots beside it are generated whole; in README.md only what stands between the two markers.

mod guide;
mod plots;
mod sections;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use std::fs;

use halo_loss::registry;

use crate::shell::{Outcome, root};

const GUIDE: &str = "docs/losses.md";
const PLOTS: &str = "docs/plots";
const README: &str = "README.md";
const OPEN: &str = "<!-- losses: written by cargo xtask docs -->\n";
const CLOSE: &str = "<!-- end of losses -->";

/// Writes all, and removes plots of losses that are gone.
pub(crate) fn write(_: &[String]) -> Outcome {
    let documents = documents()?;
    fs::create_dir_all(root().join(PLOTS)).map_err(|error| format!("{PLOTS}: {error}"))?;
    for file in stale(&documents)? {
        fs::remove_file(root().join(&file)).map_err(|error| format!("{file}: {error}"))?;
        println!("removed {file}");
    }
    for (file, text) in documents {
        fs::write(root().join(&file), text).map_err(|error| format!("{file}: {error}"))?;
        println!("wrote {file}");
    }
    Ok(())
}

/// Refuses documents that the registry would write otherwise.
pub(crate) fn check() -> Outcome {
    let documents = documents()?;
    if let Some(file) = stale(&documents)?.first() {
        return Err(format!(
            "{file} belongs to no loss: run `cargo xtask docs` and commit"
        ));
    }
    for (file, text) in &documents {
        if read(file)? != *text {
            return Err(format!(
                "{file} does not say what the registry says: run `cargo xtask docs` and commit"
            ));
        }
    }
    println!("{} documents are as the registry says", documents.len());
    Ok(())
}

/// Every generated file with its text.
fn documents() -> Result<Vec<(String, String)>, String> {
    let readme = read(README)?;
    let marked = readme
        .split_once(OPEN)
        .and_then(|(before, rest)| Some((before, rest.split_once(CLOSE)?.1)));
    let Some((before, after)) = marked else {
        return Err(format!("{README}: the markers of the losses are gone"));
    };
    let readme = format!("{before}{OPEN}{}{CLOSE}{after}", guide::table());
    let mut documents = vec![(GUIDE.into(), guide::guide()?), (README.into(), readme)];
    for spec in registry() {
        let (plot, _) = plots::plot(spec)?;
        documents.push((format!("{PLOTS}/{}.svg", spec.name), plot));
    }
    Ok(documents)
}

/// Files among the plots that no loss has.
fn stale(documents: &[(String, String)]) -> Result<Vec<String>, String> {
    let Ok(entries) = fs::read_dir(root().join(PLOTS)) else {
        return Ok(Vec::new());
    };
    let mut stale = Vec::new();
    for entry in entries {
        let name = entry
            .map_err(|error| format!("{PLOTS}: {error}"))?
            .file_name();
        let file = format!("{PLOTS}/{}", name.to_string_lossy());
        if !documents.iter().any(|(known, _)| *known == file) {
            stale.push(file);
        }
    }
    stale.sort();
    Ok(stale)
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))
}
