//! C: the header in every dialect, and programs that only the header knows.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Library, built, output, there};
use crate::shell::{self, Outcome, cargo, root};

const STRICT: &[&str] = &["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

pub(super) fn run(library: &Library) -> Outcome {
    if !there("cc") {
        println!("  left out: no C compiler (cc)");
        return Ok(());
    }
    header(library)?;
    // Says itself whether its gradients are the finite differences.
    program(library, "head")?;
    let said = program(library, "kto_loss")?;
    // The mean of the mismatched log-ratios 1, 0.5, -1 and 1.5.
    if !said.starts_with("z0 = 0.5\n") {
        return Err(format!("kto_loss said\n{said}"));
    }
    train(library)
}

const MODEL: &str = "testdata/demo/model";
/// Lines of the demo's feedback: an epoch of six steps.
const LINES: usize = 96;

/// A run with the engine's model, whose losses are those of `halo train` to the last digit.
fn train(library: &Library) -> Outcome {
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
            Ok(())
        }
        false => Err(format!("losses in C {ours:?}, of halo train {theirs:?}")),
    }
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

/// Compiles bindings/c/NAME.c, runs it, and gives what it said.
fn program(library: &Library, name: &str) -> Result<String, String> {
    let flags = [&["-std=c99", "-g"], STRICT].concat();
    let source = format!("bindings/c/{name}.c");
    let program = library.compile("cc", &flags, &[&source], name)?;
    let said = output(&mut Command::new(program))?;
    print!("{said}");
    Ok(said)
}

/// The header alone, twice, as C and as C++.
fn header(library: &Library) -> Outcome {
    let include = library.folder.join("include");
    for (compiler, language, dialects) in [
        ("cc", "c", &["c99", "c11", "c17", "c2x"][..]),
        ("c++", "c++", &["c++17", "c++20"][..]),
    ] {
        if !there(compiler) {
            println!("  left out: no {compiler}");
            continue;
        }
        for dialect in dialects {
            let mut command = Command::new(compiler);
            command
                .current_dir(root())
                .args(STRICT)
                .args([
                    "-x",
                    language,
                    &format!("-std={dialect}"),
                    "-fsyntax-only",
                    "-I",
                ])
                .arg(&include)
                .arg("bindings/c/header_twice.h");
            shell::run(&mut command)?;
        }
    }
    Ok(())
}
