//! One relocatable object, and both libraries of it: only our functions are visible, with their versions.
//!
//! What cargo makes of a static library shows Rust's own symbols, so two of them in one program clash; what it makes of a shared
//! one has no versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::soname;
use crate::shell::{self, root};

/// The function and since when it is there, line by line.
pub(crate) const SYMBOLS: &str = "crates/ffi/abi/halo.symbols";

/// The libraries of a release.
pub(crate) struct Linked {
    pub(crate) archive: PathBuf,
    /// Stripped; its file is named as programs look for it.
    pub(crate) shared: PathBuf,
    /// What was stripped.
    pub(crate) debug: PathBuf,
}

/// Makes them in `folder` of the static library that cargo made.
pub(crate) fn make(library: &Path, folder: &Path) -> Result<Linked, String> {
    let problem = |error: std::io::Error| format!("{}: {error}", folder.display());
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(problem)?;
    let symbols = symbols()?;
    let names: Vec<&str> = symbols.iter().map(|(name, _)| name.as_str()).collect();
    // Without the line of the personality a second Rust library does not link.
    let keep = names.join("\n") + "\nDW.ref.rust_eh_personality\n";
    fs::write(folder.join("keep.txt"), keep).map_err(problem)?;
    fs::write(folder.join("halo.map"), versions(&symbols)).map_err(problem)?;
    let step = |program: &str, arguments: &[&str]| {
        shell::run(Command::new(program).current_dir(folder).args(arguments))
    };
    let library = library.to_string_lossy();
    let soname = soname();
    step("ld", &["-r", "--whole-archive", &library, "-o", "all.o"])?;
    // Bitcode first: the tools that follow stumble over it.
    step(
        "objcopy",
        &[
            "--remove-section=.llvmbc",
            "--remove-section=.llvmcmd",
            "all.o",
            "clean.o",
        ],
    )?;
    step(
        "objcopy",
        &["--keep-global-symbols=keep.txt", "clean.o", "halo.o"],
    )?;
    let linker_flags = [
        format!("-Wl,-soname,{soname}"),
        "-Wl,--version-script=halo.map".into(),
        // Destructors of thread-local values outlive dlclose, and so do exported tensors.
        "-Wl,-z,nodelete".into(),
        "-Wl,-z,now".into(),
        "-Wl,--gc-sections".into(),
        "-Wl,--no-undefined".into(),
    ];
    let mut arguments = vec!["-shared", "-o", &soname, "halo.o"];
    arguments.extend(linker_flags.iter().map(String::as_str));
    arguments.extend(["-lgcc_s", "-lpthread", "-lm", "-ldl"]);
    step("cc", &arguments)?;
    let debug = format!("{soname}.debug");
    step("objcopy", &["--only-keep-debug", &soname, &debug])?;
    step("strip", &["--strip-unneeded", &soname])?;
    step(
        "objcopy",
        &[&format!("--add-gnu-debuglink={debug}"), &soname],
    )?;
    step("objcopy", &["--strip-debug", "halo.o", "libhalo.o"])?;
    step("ar", &["rcs", "libhalo.a", "libhalo.o"])?;
    for file in ["all.o", "clean.o", "halo.o", "libhalo.o"] {
        fs::remove_file(folder.join(file)).map_err(problem)?;
    }
    Ok(Linked {
        archive: folder.join("libhalo.a"),
        shared: folder.join(&soname),
        debug: folder.join(debug),
    })
}

/// Name and version of every function.
pub(crate) fn symbols() -> Result<Vec<(String, String)>, String> {
    let text =
        fs::read_to_string(root().join(SYMBOLS)).map_err(|error| format!("{SYMBOLS}: {error}"))?;
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines
        .map(|(name, since)| (name.into(), since.into()))
        .collect())
}

/// One node a minor version, each on top of the one before: a program that needs a newer one is refused when it is loaded.
fn versions(symbols: &[(String, String)]) -> String {
    let mut nodes: BTreeMap<Vec<u32>, Vec<&str>> = BTreeMap::new();
    for (name, since) in symbols {
        let number = since
            .split('.')
            .map(|part| part.parse().unwrap_or(0))
            .collect();
        nodes.entry(number).or_default().push(name);
    }
    let (mut text, mut before) = (String::new(), String::new());
    for (number, names) in nodes {
        let number: Vec<String> = number.iter().map(u32::to_string).collect();
        let node = format!("HALO_{}", number.join("."));
        let local = if before.is_empty() {
            "\n  local: *;"
        } else {
            ""
        };
        let names: String = names.iter().map(|name| format!(" {name};")).collect();
        text += &format!("{node} {{\n  global:{names}{local}\n}}{before};\n");
        before = format!(" {node}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stands_on_the_one_before() {
        let symbol = |name: &str, since: &str| (name.to_string(), since.to_string());
        let text = versions(&[symbol("b", "0.10"), symbol("a", "0.2"), symbol("c", "0.2")]);
        let expected = "HALO_0.2 {\n  global: a; c;\n  local: *;\n};\nHALO_0.10 {\n  global: b;\n} HALO_0.2;\n";
        assert_eq!(text, expected);
    }
}
