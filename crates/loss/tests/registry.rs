//! The registry is the one source: its entries are complete, and no other file names a loss.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::path::{Path, PathBuf};

use halo_loss::{DataShape, Loss, Need, ParamKind, ParamValue, Params, find, registry};

#[test]
fn names_are_unique_words_and_findable() {
    for (i, spec) in registry().iter().enumerate() {
        assert!(
            spec.name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            "{}",
            spec.name
        );
        assert!(
            registry()[..i].iter().all(|other| other.name != spec.name),
            "{} stands twice",
            spec.name
        );
        assert_eq!(find(spec.name).unwrap(), *spec);
        assert_eq!(Loss::new(spec.name, &Params::new()).unwrap().spec(), *spec);
    }
}

#[test]
fn entries_are_complete() {
    for spec in registry() {
        for (what, text) in [
            ("title", spec.title),
            ("formula", spec.formula),
            ("paper", spec.paper),
            ("when_to_use", spec.when_to_use),
            ("implementations", spec.implementations),
        ] {
            assert!(!text.trim().is_empty(), "{}: {what}", spec.name);
            assert!(
                !text.contains('\n'),
                "{}: {what} is one paragraph",
                spec.name
            );
        }
        let arxiv = spec.arxiv.as_bytes();
        let shape = arxiv.len() == 10
            && arxiv[4] == b'.'
            && arxiv.iter().filter(|b| b.is_ascii_digit()).count() == 9;
        assert!(
            arxiv.is_empty() || shape,
            "{}: arXiv {}",
            spec.name,
            spec.arxiv
        );
        for param in spec.params {
            assert!(!param.meaning.is_empty(), "{}: {}", spec.name, param.name);
        }
    }
}

#[test]
fn defaults_are_allowed_and_are_what_a_loss_reports() {
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).unwrap();
        assert_eq!(loss.params().len(), spec.params.len());
        for param in spec.params {
            assert_eq!(loss.params().get(param.name), Some(&param.default()));
            let again = loss.with(param.name, param.default()).unwrap();
            assert_eq!(again, loss);
            if let ParamKind::Choice { default, choices } = param.kind {
                assert!(choices.contains(&default));
            }
        }
    }
}

#[test]
fn parameters_survive_the_command_line() {
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).unwrap();
        let mut read = Params::new();
        for (key, value) in loss.params().iter() {
            read.parse(&format!("{key}={value}")).unwrap();
        }
        assert_eq!(&read, loss.params());
    }
    for number in [1e-6, 0.1, 1.0 / 3.0, 5e-324, 1e300, 12_345_678.0, 0.0] {
        assert_eq!(
            ParamValue::parse(&ParamValue::Number(number).to_string()),
            ParamValue::Number(number)
        );
    }
}

#[test]
fn needs_of_a_loss_are_among_those_of_its_entry() {
    use Need::*;
    let all = [
        Reference,
        ReferencePoint,
        Lengths,
        TokenLogps,
        Advantages,
        OldLogps,
        VocabStats,
        Scores,
    ];
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).unwrap();
        for need in all {
            assert!(
                !loss.needs(need) || spec.needs.contains(&need),
                "{}: {need:?}",
                spec.name
            );
        }
        assert_eq!(loss.data_shape(), spec.shape);
        assert_eq!(
            loss.rows_per_unit(),
            if spec.shape == DataShape::Paired {
                2
            } else {
                1
            }
        );
    }
}

#[test]
fn a_loss_stands_in_the_file_of_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/losses");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .replace(".rs", "")
        })
        .collect();
    let mut names: Vec<&str> = registry().iter().map(|spec| spec.name).collect();
    files.sort();
    names.sort_unstable();
    assert_eq!(files, names);
}

/// DESIGN: no other file names a loss. Comments and test modules may.
#[test]
fn no_other_file_names_a_loss() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        rust_files(&entry.unwrap().path().join("src"), &mut sources);
    }
    assert!(sources.iter().any(|path| path.ends_with("src/losses.rs")));
    let mut named = Vec::new();
    for path in sources
        .iter()
        .filter(|path| !path.components().any(|c| c.as_os_str() == "losses"))
    {
        let text = fs::read_to_string(path).unwrap();
        for (number, line) in text
            .lines()
            .enumerate()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        {
            let code = line.trim_start();
            for spec in registry() {
                if !code.starts_with("//") && code.contains(&format!("\"{}\"", spec.name)) {
                    named.push(format!("{}:{}: {}", path.display(), number + 1, code));
                }
            }
        }
    }
    assert!(
        named.is_empty(),
        "ask the registry instead:\n{}",
        named.join("\n")
    );
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
