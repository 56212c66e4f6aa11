//! What the page's own code must not hold: mathematics that differs between machines, names of losses, addresses.

use std::fs;
use std::path::Path;

use halo_loss::registry;

use crate::shell::{Outcome, root};

/// Differ in the last digits between engines, so that the page would not be the engine's.
const MATHEMATICS: &[&str] = &[
    "exp", "expm1", "log", "log1p", "log2", "log10", "pow", "sqrt", "cbrt", "sin", "cos", "tan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "hypot", "atan", "atan2", "random",
];

pub(super) fn check() -> Outcome {
    let mut wrong = Vec::new();
    let mut files = 0;
    each(&root().join("web/src"), &mut |path, text| {
        files += 1;
        let name = path
            .strip_prefix(root())
            .unwrap_or(path)
            .display()
            .to_string();
        for (number, line) in text.lines().enumerate() {
            wrong.extend(
                faults(line)
                    .into_iter()
                    .map(|fault| format!("{name}, line {}: {fault}", number + 1)),
            );
        }
    })
    .map_err(|error| error.to_string())?;
    match wrong.is_empty() {
        true => {
            println!("{files} files of the page hold no mathematics and no loss's name");
            Ok(())
        }
        false => Err(wrong.join("\n")),
    }
}

fn each(folder: &Path, see: &mut impl FnMut(&Path, &str)) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            each(&path, see)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            see(&path, &text);
        }
    }
    Ok(())
}

fn faults(line: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for function in MATHEMATICS {
        if line.contains(&format!("Math.{function}(")) {
            faults.push(format!(
                "Math.{function} differs between browsers: ask the engine"
            ));
        }
    }
    if line.contains("**") && !line.trim_start().starts_with(['*', '/']) {
        faults.push("`**` differs between browsers: ask the engine".into());
    }
    for spec in registry() {
        let named = ['"', '\'', '`']
            .iter()
            .any(|q| line.contains(&format!("{q}{}{q}", spec.name)));
        if named {
            faults.push(format!("\"{}\" is for the registry to name", spec.name));
        }
    }
    for call in [
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "innerHTML",
        "eval(",
    ] {
        if line.contains(call) {
            faults.push(format!(
                "{call}: the page asks no network, and text is no markup"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mathematics_and_names_are_found() {
        assert_eq!(faults("const y = Math.exp(x) ** 2;").len(), 2);
        let name = registry()[0].name;
        assert_eq!(faults(&format!("pin(\"{name}\")")).len(), 1);
        assert!(faults("const y = Math.max(a, b); // one ** two").len() <= 1);
        assert!(faults("node.textContent = name;").is_empty());
    }
}
