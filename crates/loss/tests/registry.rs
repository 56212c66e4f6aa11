//! The registry is the one source: its entries are complete, and no other file names a loss.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use halo_loss::advice::Stance;
use halo_loss::{
    DataShape, Loss, Need, ParamKind, ParamValue, Params, Spec, find, modifiers, registry, value,
};

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
        for param in spec.all_params() {
            assert!(!param.meaning.is_empty(), "{}: {}", spec.name, param.name);
        }
    }
}

#[test]
fn defaults_are_allowed_and_are_what_a_loss_reports() {
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).unwrap();
        assert_eq!(loss.params().len(), spec.all_params().count());
        assert_eq!(loss.name(), spec.name);
        for param in spec.all_params() {
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
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).unwrap();
        for need in Need::ALL {
            let said = spec.needs.contains(&need);
            assert!(!loss.needs(need) || said, "{}: {need:?}", spec.name);
            let twice = spec.needs.iter().filter(|other| **other == need).count() > 1;
            assert!(!twice, "{}: {need:?} stands twice", spec.name);
        }
        for modifier in spec.modifiers {
            let main = &modifier.params[0];
            let on = match main.kind {
                ParamKind::Number { range, .. } => vec![ParamValue::Number(range.low + 0.25)],
                ParamKind::Flag { default } => vec![ParamValue::Flag(!default)],
                ParamKind::Choice { choices, .. } => {
                    let text = |word: &&str| ParamValue::Text(word.to_string());
                    choices.iter().map(text).collect()
                }
            };
            for value in on {
                let modified = loss.with(main.name, value).unwrap();
                for need in Need::ALL {
                    let known = spec.needs.contains(&need) || modifier.needs.contains(&need);
                    // a weight of the mean log-probability is one of lengths
                    let known = known || need == Need::Lengths;
                    assert!(!modified.needs(need) || known, "{modified}: {need:?}");
                }
            }
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

#[test]
fn modifiers_are_complete_and_named_as_their_first_parameter() {
    for modifier in modifiers::registry() {
        assert_eq!(modifier.name, modifier.params[0].name);
        assert!(
            !modifier.meaning.is_empty() && !modifier.meaning.contains('\n'),
            "{}",
            modifier.name
        );
        for param in modifier.params {
            assert!(!param.meaning.is_empty(), "{}", param.name);
        }
    }
    for spec in registry() {
        for modifier in spec.modifiers {
            let known = modifiers::registry().contains(modifier);
            assert!(
                known,
                "{}: {} is no modifier of the registry",
                spec.name, modifier.name
            );
        }
    }
    let mut shared: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for spec in registry() {
        for modifier in spec.modifiers {
            shared.entry(modifier.name).or_default().push(spec.name);
        }
    }
    assert_eq!(
        shared.len(),
        modifiers::registry().len(),
        "a modifier of no loss: {shared:?}"
    );
}

#[test]
fn reasons_for_and_against_are_sentences_with_a_strength() {
    let silent: Vec<&str> = registry()
        .iter()
        .filter(|spec| spec.fits.is_empty())
        .map(|spec| spec.name)
        .collect();
    assert!(silent.is_empty(), "for what data are {silent:?}?");
    for spec in registry() {
        assert!(
            of_another_model(spec) || spec.fits.iter().any(|fit| fit.stance == Stance::For),
            "{}: nothing speaks for it",
            spec.name
        );
        for (index, fit) in spec.fits.iter().enumerate() {
            assert!((1..=3).contains(&fit.strength), "{}: {fit:?}", spec.name);
            assert!(
                !fit.reason.is_empty() && !fit.reason.ends_with('.'),
                "{}: {fit:?}",
                spec.name
            );
            let before = &spec.fits[..index];
            let again = before.iter().any(|other| other.data == fit.data);
            assert!(!again, "{}: {:?} is judged twice", spec.name, fit.data);
        }
    }
}

/// Not chosen among the losses of policies: its data asks for it.
fn of_another_model(spec: &Spec) -> bool {
    spec.needs.contains(&Need::Scores) || spec.needs.contains(&Need::Errors)
}

#[test]
fn presets_have_names_and_values_that_are_allowed() {
    for spec in registry() {
        for (index, preset) in spec.presets.iter().enumerate() {
            let before = &spec.presets[..index];
            assert!(
                before.iter().all(|other| other.name != preset.name),
                "{}",
                spec.name
            );
            assert!(!preset.values.is_empty(), "{}: {}", spec.name, preset.name);
            for (key, value) in preset.values {
                let mut params = Params::new();
                params.set(key, *value);
                Loss::new(spec.name, &params).unwrap();
            }
        }
    }
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
        .filter(|path| !path.ends_with("tests.rs"))
    {
        let text = fs::read_to_string(path).unwrap();
        for (number, line) in text
            .lines()
            .enumerate()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        {
            let code = line.trim_start();
            // a value function may share its word with a loss
            let of_values = path.ends_with("value.rs");
            let names = registry().iter();
            for spec in names.filter(|spec| !(of_values && value::NAMES.contains(&spec.name))) {
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
