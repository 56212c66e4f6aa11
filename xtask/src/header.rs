//! `cargo xtask header`: the C interface as its users see it, from the text of crates/ffi.
//!
//! cbindgen writes include/halo.h; include/halo_api.json says the same with what a header cannot say (who owns what, which length
//! belongs to which pointer) and is the source of every binding; crates/ffi/abi/halo.symbols is what the library exports, and
//! layout.lp64 beside it where every field lies. The bindings' own declarations are written from the same description,
//! and docs/c-api.md is for reading.

mod api;
mod c;
pub(crate) mod items;
mod layout;
mod node;
mod prototype;
mod python;
mod reference;
pub(crate) mod rules;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use crate::shell::{Outcome, root};

const CRATE: &str = "crates/ffi";
const HEADER: &str = "include/halo.h";
const API: &str = "include/halo_api.json";
const REFERENCE: &str = "docs/c-api.md";
const SYMBOLS: &str = "crates/ffi/abi/halo.symbols";
const LAYOUT: &str = "crates/ffi/abi/layout.lp64";
const LAYOUT_TEST: &str = "crates/ffi/src/layout.rs";
const PYTHON: &str = "bindings/python/halo/_api.py";
const NODE: &str = "bindings/node/src/api.mjs";
const TYPESCRIPT: &str = "bindings/node/src/api.d.mts";

/// Writes all; `--check` compares instead.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let check = arguments.iter().any(|argument| argument == "--check");
    for (file, text) in documents()? {
        let path = root().join(file);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        if check {
            return Err(format!(
                "{file} is not what crates/ffi says: run `cargo xtask header` and commit"
            ));
        }
        fs::write(&path, text).map_err(|error| format!("{file}: {error}"))?;
        println!("wrote {file}");
    }
    Ok(())
}

/// Every generated file with its text.
fn documents() -> Result<Vec<(&'static str, String)>, String> {
    let api = api::read(&root().join(CRATE))?;
    let header = header()?;
    for function in api.functions() {
        if !header.contains(&format!(" {function}(")) && !header.contains(&format!("*{function}("))
        {
            return Err(format!("cbindgen left {function} out of {HEADER}"));
        }
    }
    let described = api.json();
    rules::check(&described)?;
    let reference = reference::page(&described, &rules()?);
    let json = serde_json::to_string_pretty(&described).map_err(|error| error.to_string())?;
    Ok(vec![
        (HEADER, header),
        (API, json + "\n"),
        (SYMBOLS, api.symbols()),
        (LAYOUT, layout::text(&described)?),
        (LAYOUT_TEST, layout::rust(&described, &modules()?)),
        (PYTHON, python::module(&described)),
        (REFERENCE, reference),
        (NODE, node::module(&described)),
        (TYPESCRIPT, node::types(&described)),
    ])
}

/// The interface as data, as it was written last.
pub(crate) fn description() -> Result<serde_json::Value, String> {
    let text = fs::read_to_string(root().join(API)).map_err(|error| format!("{API}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{API}: {error}"))
}

/// The modules that the crate exports, and those within them.
fn modules() -> Result<Vec<String>, String> {
    let source = root().join(CRATE).join("src");
    let mut modules = public_modules(&source.join("lib.rs"))?;
    for module in modules.clone() {
        let within = public_modules(&source.join(format!("{module}.rs")))?;
        modules.extend(within.iter().map(|inner| format!("{module}::{inner}")));
    }
    Ok(modules)
}

fn public_modules(file: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    Ok(names.map(str::to_string).collect())
}

/// What cbindgen makes of the crate, without the tags that are for the bindings only.
fn header() -> Result<String, String> {
    let folder = root().join(CRATE);
    let mut config = cbindgen::Config::from_file(folder.join("cbindgen.toml"))?;
    config.header = Some(rules()?);
    let _ = log::set_logger(&WARNINGS).map(|()| log::set_max_level(log::LevelFilter::Warn));
    let bindings = cbindgen::Builder::new()
        .with_crate(&folder)
        .with_config(config)
        .generate()
        .map_err(|error| format!("cbindgen: {error}"))?;
    if let Some(warning) = WARNINGS.0.lock().unwrap_or_else(|e| e.into_inner()).first() {
        return Err(format!("cbindgen: {warning}"));
    }
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    Ok(untagged(&text))
}

/// The comment at the top of the header.
fn rules() -> Result<String, String> {
    let file = root().join(CRATE).join("header.h");
    fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
}

/// `// @since 0.1` goes, and so does the tail of `// Out: z0. @len rows`.
fn untagged(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        let comment = line.trim_start().starts_with("//");
        let kept = match (comment, line.find(" @")) {
            (true, Some(at)) => line[..at].trim_end(),
            _ => line.trim_end(),
        };
        // A comment that was tags only, or a blank comment line before them.
        if comment && kept.trim() == "//" {
            continue;
        }
        lines.push(kept);
    }
    // A status that nobody looks at is an error that nobody sees.
    let text = lines.join("\n") + "\n";
    text.replace(
        "HALO_API halo_status ",
        "HALO_API HALO_MUST_USE halo_status ",
    )
    .replace(
        "HALO_API\nhalo_status ",
        "HALO_API HALO_MUST_USE\nhalo_status ",
    )
}

/// Keeps what cbindgen warns of: it goes on without what it cannot express.
struct Warnings(Mutex<Vec<String>>);
static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record) {
        let text = record.args().to_string();
        // Private items are meant to be left out, and DLTensor comes from its own header.
        let expected = [
            "(not `pub`).",
            "(not `no_mangle`).",
            // a callback of ours
            "(not `no_mangle`, and has no `export_name` attribute)",
        ];
        let expected =
            expected.iter().any(|end| text.ends_with(end)) || text.contains("Can't find DLTensor");
        if record.level() <= log::Level::Warn && !expected {
            self.0.lock().unwrap_or_else(|e| e.into_inner()).push(text);
        }
    }

    fn flush(&self) {}
}
