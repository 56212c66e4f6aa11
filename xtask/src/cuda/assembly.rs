//! What the compiled kernels cost on a device: registers, shared memory, and no spills.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::shell::{Outcome, root};

/// Hopper.
const DEVICE: &str = "sm_90";

/// One kernel, as ptxas tells of it.
#[derive(Debug, Default, PartialEq)]
struct Kernel {
    name: String,
    registers: usize,
    /// Bytes of static shared memory.
    shared: usize,
    /// Bytes stored and loaded for want of registers.
    spills: usize,
}

/// Every KERNEL of the sources stands in the PTX, and none spills a register.
pub(super) fn check(ptxas: &Path, target: &Path) -> Outcome {
    let mut kernels = Vec::new();
    for ptx in newest(target)? {
        let output = Command::new(ptxas)
            .args(["-v", "--gpu-name", DEVICE, "-o"])
            .arg(ptx.with_extension("cubin"))
            .arg(&ptx)
            .output()
            .map_err(|error| format!("{} cannot be run: {error}", ptxas.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("ptxas refuses {}:\n{said}", ptx.display()));
        }
        kernels.extend(parse(&said));
    }
    kernels.sort_by(|a, b| a.name.cmp(&b.name));
    println!(
        "{DEVICE:40}{:>10}{:>10}{:>10}",
        "registers", "shared", "spills"
    );
    for kernel in &kernels {
        println!(
            "{:40}{:10}{:10}{:10}",
            kernel.name, kernel.registers, kernel.shared, kernel.spills
        );
    }
    let mut wrong: Vec<String> = sources(&root().join("crates/kernels/src"))
        .iter()
        .flat_map(|text| names(text))
        .filter(|name| {
            let known = ["f32", "bf16"].map(|suffix| format!("{name}_{suffix}"));
            !kernels.iter().any(|kernel| known.contains(&kernel.name))
        })
        .map(|name| format!("{name} is not in the PTX: does src/gpu/kernels.cu include its file?"))
        .collect();
    wrong.extend(
        kernels
            .iter()
            .filter(|kernel| kernel.spills > 0)
            .map(|kernel| format!("{} spills {} bytes", kernel.name, kernel.spills)),
    );
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n")),
    }
}

/// The PTX of the last build: cargo keeps those of other features and compilers beside it.
fn newest(target: &Path) -> Result<[PathBuf; 2], String> {
    let folder = target.join("debug/build");
    let files = |out: &Path| ["f32", "bf16"].map(|t| out.join(format!("kernels_{t}.ptx")));
    folder
        .read_dir()
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .flatten()
        .map(|entry| files(&entry.path().join("out")))
        .filter_map(|files| Some((age(&files[1])?, files)))
        .max_by_key(|(modified, _)| *modified)
        .map(|(_, files)| files)
        .ok_or_else(|| format!("no PTX in {}", folder.display()))
}

fn age(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}

/// The texts of all `.cu` files.
fn sources(folder: &Path) -> Vec<String> {
    let Ok(entries) = folder.read_dir() else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "cu") {
            texts.extend(fs::read_to_string(&path));
        }
    }
    texts
}

/// The names in `KERNEL(name)` at the beginning of a line.
fn names(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| Some(line.strip_prefix("KERNEL(")?.split_once(')')?.0))
        .collect()
}

/// ptxas -v: a line with the entry's name, one with its spills, one with its registers.
fn parse(said: &str) -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for line in said.lines() {
        if let Some((_, after)) = line.split_once("Compiling entry function '") {
            kernels.push(Kernel {
                name: after.split('\'').next().unwrap_or_default().into(),
                ..Kernel::default()
            });
        } else if let Some(kernel) = kernels.last_mut() {
            kernel.spills +=
                before(line, " bytes spill stores") + before(line, " bytes spill loads");
            kernel.registers += before(line, " registers");
            kernel.shared += before(line, " bytes smem");
        }
    }
    kernels
}

/// The number that stands before some words, 0 where they are not in the line.
fn before(line: &str, words: &str) -> usize {
    line.split_once(words)
        .and_then(|(before, _)| before.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ptxas_tells_is_read() {
        let said = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'norm_f32' for 'sm_90'\n\
            ptxas info    : Function properties for norm_f32\n    \
            8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n\
            ptxas info    : Used 24 registers, used 1 barriers, 128 bytes smem\n";
        let kernel = Kernel {
            name: "norm_f32".into(),
            registers: 24,
            shared: 128,
            spills: 16,
        };
        assert_eq!(parse(said), [kernel]);
    }

    #[test]
    fn kernels_are_found_where_they_are_defined() {
        let text = "// KERNEL(no)\nKERNEL(norm)(const T* x) {\n#define KERNEL(name) x\n";
        assert_eq!(names(text), ["norm"]);
    }
}
