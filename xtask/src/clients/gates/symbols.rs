//! What the libraries show: our functions, all of them, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::super::output;
use super::Bench;
use crate::dist::link;
use crate::header::{self, items};
use crate::shell::{Outcome, root};

/// The development library, the symbol list and the header say the same.
pub(super) fn exported(bench: &Bench) -> Outcome {
    let promised: BTreeSet<String> = link::symbols()?.into_iter().map(|(name, _)| name).collect();
    let api = header::description()?;
    let described: BTreeSet<String> = items::list(&api, "functions")
        .map(|function| items::word(function, "name").into())
        .collect();
    same("halo_api.json", &described, &promised)?;
    // cargo's own library shows Rust's exception personality beside ours on some systems.
    let shown = dynamic(&bench.library.folder.join("lib/libhalo.so"))?
        .into_iter()
        .map(|(name, _)| name);
    same("libhalo.so", &shown.collect(), &promised)?;
    declared(&promised)
}

/// A released library has the versions too; the static one shows nothing but our functions.
pub(super) fn released(bench: &Bench) -> Outcome {
    let promised: BTreeSet<(String, String)> = link::symbols()?
        .into_iter()
        .map(|(name, since)| (name, format!("HALO_{since}")))
        .collect();
    let shown: BTreeSet<_> = dynamic(&bench.linked.shared)?.into_iter().collect();
    if shown != promised {
        let difference: Vec<_> = shown.symmetric_difference(&promised).collect();
        return Err(format!(
            "the released library and the symbol list differ in {difference:?}"
        ));
    }
    let listed = output(
        Command::new("nm")
            .args(["-g", "--defined-only"])
            .arg(&bench.linked.archive),
    )?;
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2).map(str::to_string));
    let names: BTreeSet<String> = names
        .filter(|name| name != "DW.ref.rust_eh_personality")
        .collect();
    same(
        "libhalo.a",
        &names,
        &promised.into_iter().map(|(name, _)| name).collect(),
    )?;
    let said = output(
        Command::new("readelf")
            .args(["-d", "--wide"])
            .arg(&bench.linked.shared),
    )?;
    for wanted in ["NODELETE", "NOW", "Library soname: [libhalo.so."] {
        if !said.contains(wanted) {
            return Err(format!("the released library has no {wanted} in\n{said}"));
        }
    }
    Ok(())
}

/// Every function of the list has a declaration in the header.
fn declared(promised: &BTreeSet<String>) -> Outcome {
    let file = root().join("include/halo.h");
    let header =
        std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    match promised
        .iter()
        .find(|name| !header.contains(&format!("{name}(")))
    {
        None => Ok(()),
        Some(name) => Err(format!("{name} is not declared in {}", file.display())),
    }
}

fn same(whose: &str, shown: &BTreeSet<String>, promised: &BTreeSet<String>) -> Outcome {
    let difference: Vec<_> = shown.symmetric_difference(promised).collect();
    match difference.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{whose} and {} differ in {difference:?}",
            link::SYMBOLS
        )),
    }
}

/// The defined functions of a shared library with their versions; version nodes themselves are absolute symbols.
fn dynamic(library: &Path) -> Result<Vec<(String, String)>, String> {
    let listed = output(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(library),
    )?;
    Ok(listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (kind, name) = (words.next()?, words.next()?);
            let (name, version) = name.split_once("@@").unwrap_or((name, ""));
            (kind != "A").then(|| (name.to_string(), version.to_string()))
        })
        .collect())
}
