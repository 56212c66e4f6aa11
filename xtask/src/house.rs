//! `cargo xtask house`: rules that no other tool checks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Outcome, root};

/// One concept a file.
const LINES: usize = 400;
/// A test file is the catalogue of one promise, with all the ways to break it.
const TEST_LINES: usize = 800;

/// Folders of one person's machine, in pieces so that this file does not hold them.
const MACHINE: &[&str] = &[
    concat!("/", "home/"),
    concat!("/", "root/"),
    concat!("/", "Users/"),
    concat!("/", "work/"),
    concat!("/", "opt/"),
    concat!("/", "tmp/"),
];

/// The arrows of ARCHITECTURE.md: who may depend on which of ours, and who knows candle.
const ARROWS: &[(&str, &[&str])] = &[
    ("crates/loss", &[]),
    ("crates/train", &["halo-loss"]),
    ("crates/kernels", &[]),
    (
        "crates/core",
        &[
            "halo-loss",
            "halo-train",
            "halo-kernels",
            "candle-core",
            "candle-nn",
        ],
    ),
    ("crates/cli", &["halo-loss", "halo-train", "halo-core"]),
    (
        "crates/ffi",
        &["halo-loss", "halo-train", "halo-kernels", "halo-core"],
    ),
    ("crates/wasm", &["halo-loss"]),
    ("xtask", &["halo-loss", "halo-train", "halo-wasm"]),
];

pub(crate) fn run(_: &[String]) -> Outcome {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let ignored: Vec<_> = ignored
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['*', '#']))
        .collect();
    let mut files = Vec::new();
    collect(&root(), &ignored, &mut files).map_err(|error| error.to_string())?;
    let mut wrong: Vec<String> = ARROWS
        .iter()
        .flat_map(|(folder, known)| arrows(folder, known))
        .collect();
    for file in &files {
        let name = file
            .strip_prefix(root())
            .unwrap_or(file)
            .to_string_lossy()
            .replace('\\', "/");
        // What is not text (weights) has no rules.
        if let Ok(text) = fs::read_to_string(file) {
            wrong.extend(
                faults(&name, &text)
                    .into_iter()
                    .map(|fault| format!("{name}{fault}")),
            );
        }
    }
    match wrong.is_empty() {
        true => {
            println!("{} files keep the rules of the house", files.len());
            Ok(())
        }
        false => Err(wrong.join("\n")),
    }
}

/// Everything but hidden folders (other than .ci and .cargo) and what .gitignore names.
fn collect(folder: &Path, ignored: &[&str], files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && ![".ci", ".cargo", ".gitignore"].contains(&&*name);
        if hidden || ignored.iter().any(|line| ignores(line, folder, &name)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), ignored, files)?;
        } else if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(())
}

/// Whether a line of .gitignore means this entry: `/name` in the root only, `name*` by its beginning, `/folder/name` there.
fn ignores(line: &str, folder: &Path, name: &str) -> bool {
    let pattern = line.trim_matches('/');
    if pattern.contains('/') {
        return root().join(pattern) == folder.join(name);
    }
    let here = !line.starts_with('/') || folder == root();
    here && match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// What is wrong in one file, each beginning with where.
fn faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut fault = |what: String| faults.push(format!(", line {}: {what}", number + 1));
        if let Some(path) = MACHINE.iter().find(|path| mentions(line, path)) {
            fault(format!("{path} is a folder of one machine"));
        }
        if name.ends_with(".rs")
            && (line.contains(concat!("TO", "DO")) || line.contains(concat!("FIX", "ME")))
        {
            fault("unfinished work belongs into an issue".into());
        }
    }
    if name.ends_with("/mod.rs") {
        faults.push(
            ": name.rs beside the folder name/ instead, so that tabs stay tellable apart".into(),
        );
    }
    let allowed = match name.split('/').any(|folder| folder == "tests") {
        true => TEST_LINES,
        false => LINES,
    };
    let lines = text.lines().count();
    if name.ends_with(".rs") && lines > allowed {
        faults.push(format!(
            ": {lines} lines of at most {allowed}: split it by concept"
        ));
    }
    faults
}

/// Whether an absolute path stands in a line: not as the later part of a longer one or of an address.
fn mentions(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~*})".contains(c))
    })
}

/// Dependencies of one package that the architecture does not allow.
fn arrows(folder: &str, known: &[&str]) -> Vec<String> {
    let manifest = format!("{folder}/Cargo.toml");
    let text = match fs::read_to_string(root().join(&manifest)) {
        Ok(text) => text,
        Err(error) => return vec![format!("{manifest}: {error}")],
    };
    let mut section = "";
    let mut wrong = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or("");
        let watched = name.starts_with("halo-") || name.starts_with("candle");
        if section.contains("dependencies") && watched && !known.contains(&name) {
            wrong.push(format!(
                "{manifest}: {name} is not among what it may know: {}",
                known.join(", ")
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_refused() {
        let text = "\n".repeat(LINES + 1);
        assert_eq!(faults("crates/new/src/lib.rs", &text).len(), 1);
        assert!(faults("crates/new/src/lib.rs", &text[1..]).is_empty());
        assert!(faults("crates/new/tests/promise.rs", &text).is_empty());
        assert!(faults("crates/new/notes.md", &text).is_empty());
    }

    #[test]
    fn machine_paths_are_found_and_addresses_are_not() {
        let home = MACHINE[0];
        assert!(mentions(&format!("cd {home}me"), home));
        assert!(mentions(&format!("\"{home}me\""), home));
        assert!(!mentions(&format!("https://example.org{home}"), home));
        assert!(!mentions(&format!("src{home}"), home));
    }

    #[test]
    fn only_the_roots_own_outputs_are_left_out() {
        assert!(ignores("/run", &root(), "run"));
        assert!(!ignores("/run", &root().join("benches/peers"), "run"));
        assert!(ignores("/halo-demo*", &root(), "halo-demo-2"));
        assert!(ignores("/web/dist", &root().join("web"), "dist"));
        assert!(!ignores("/web/dist", &root(), "dist"));
        assert!(ignores(
            "__pycache__/",
            &root().join("testdata"),
            "__pycache__"
        ));
    }

    #[test]
    fn an_arrow_against_the_architecture_is_named() {
        assert!(
            arrows("crates/core", &["halo-loss"])
                .iter()
                .any(|fault| fault.contains("candle-core"))
        );
        assert!(arrows("crates/nowhere", &[])[0].contains("Cargo.toml"));
    }
}
