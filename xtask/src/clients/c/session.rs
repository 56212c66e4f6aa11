//! The engine's own models from C.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::STRICT;
use crate::clients::{Library, built, output};
use crate::shell::{self, Outcome, cargo, root};

const MODEL: &str = "testdata/demo/model";
/// Lines of the demo's feedback: an epoch of six steps.
const LINES: usize = 96;

/// A run with the engine's model, whose losses are those of `halo train` to the last digit.
pub(super) fn run(library: &Library) -> Outcome {
    let program = library.compile(
        "cc",
        &[&["-std=c99", "-g"], STRICT].concat(),
        &["bindings/c/train.c"],
        "train",
    )?;
    let scratch = library.folder.join("train");
    let _ = fs::remove_dir_all(&scratch);
    let file = |name: &str| scratch.join(name);
    let problem = |error: std::io::Error| format!("{}: {error}", scratch.display());
    fs::create_dir_all(&scratch).map_err(problem)?;
    let all = fs::read_to_string(root().join("testdata/demo/feedback.jsonl")).map_err(problem)?;
    let lines: Vec<&str> = all.lines().take(LINES).collect();
    fs::write(file("data.jsonl"), lines.join("\n") + "\n").map_err(problem)?;

    let said = output(
        Command::new(program)
            .arg(root().join(MODEL))
            .arg(file("data.jsonl"))
            .arg(file("c")),
    )?;
    print!("{said}");
    let losses = said.lines().filter(|line| line.starts_with("step "));
    let number = |text: &str| {
        text.parse::<f64>()
            .map_err(|error| format!("{text}: {error}"))
    };
    let ours: Vec<f64> = losses
        .filter_map(|line| line.rsplit(' ').next().map(number))
        .collect::<Result<_, _>>()?;
    let theirs = by_command(&file("data.jsonl"), &file("run"))?;
    match ours.len() == 6 && ours == theirs {
        true => {
            println!("halo train has the same losses, to the last digit");
            misuse(library, &scratch)
        }
        false => Err(format!("losses in C {ours:?}, of halo train {theirs:?}")),
    }
}

/// Wrong calls, stops, damaged checkpoints, forks.
fn misuse(library: &Library, scratch: &Path) -> Outcome {
    let program = library.compile(
        "cc",
        &[&["-std=c99", "-g"], STRICT].concat(),
        &["bindings/c/session_misuse.c"],
        "session_misuse",
    )?;
    let folder = scratch.join("misuse");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut command = Command::new(program);
    command.arg(root().join(MODEL));
    print!(
        "{}",
        output(command.arg(scratch.join("data.jsonl")).arg(folder))?
    );
    Ok(())
}

/// The losses of `halo train` with the settings that train.c has.
fn by_command(data: &Path, out: &Path) -> Result<Vec<f64>, String> {
    shell::run(&mut cargo("build --quiet --package halo-cli"))?;
    let settings = "--loss kto --set beta=0.5 --steps 6 --batch-size 8 --grad-accum 2 --lr 2e-3 \
                    --schedule constant --max-length 64";
    output(
        Command::new(built().join("halo"))
            .arg("train")
            .arg("--model")
            .arg(root().join(MODEL))
            .arg("--data")
            .arg(data)
            .arg("--out")
            .arg(out)
            .args(settings.split_whitespace()),
    )?;
    let path = out.join("metrics.jsonl");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let loss = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).ok()?;
        json["loss"].as_f64()
    };
    let wrong = || format!("{} has a line without a loss", path.display());
    text.lines()
        .map(|line| loss(line).ok_or_else(wrong))
        .collect()
}
