//! kill −9 at any moment: the run resumes, loses at most the steps since its last checkpoint, and ends with the same bits.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use halo_core::weights::Weights;
use halo_train::Rng;

#[path = "support/binary.rs"]
mod binary;
use binary::{Scratch, fixture, halo, metrics};

const STEPS: u64 = 100;
const KILLS: usize = 40;
const AT_MOST: Duration = Duration::from_secs(30);

fn train(out: &Path) -> Command {
    let mut command = halo("train --quiet --batch-size 2 --lr 1e-3 --schedule cosine --warmup 5");
    command
        .args(["--save-every", "1", "--record-examples"])
        .args(["--steps", &STEPS.to_string()])
        .arg("--model")
        .arg(fixture("models/llama"))
        .arg("--reference")
        .arg(fixture("trl/reference-llama"))
        .arg("--data")
        .arg(fixture("trl/kto.jsonl"))
        .arg("--out")
        .arg(out)
        .stderr(Stdio::piped());
    command
}

/// When a process is killed.
enum Moment {
    /// So long after its start.
    After(Duration),
    /// So long after it began to write a checkpoint.
    Saving(Duration),
}

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    entries.filter_map(name).collect()
}

fn is_half_written(name: &str) -> bool {
    name.starts_with("checkpoint-") && name.ends_with(".partial")
}

fn newest_checkpoint(run: &Path) -> Option<(u64, PathBuf)> {
    let step = |name: &String| name.strip_prefix("checkpoint-")?.parse().ok();
    let newest = names(run).iter().filter_map(step).max()?;
    Some((newest, run.join(format!("checkpoint-{newest}"))))
}

/// Kills the process at the moment, if it lives so long; whether it did not.
fn kill(mut child: Child, run: &Path, moment: &Moment) -> bool {
    match moment {
        Moment::After(delay) => sleep(*delay),
        Moment::Saving(delay) => {
            // What the last kill left behind is not the beginning of a checkpoint.
            let old: BTreeSet<_> = names(run)
                .into_iter()
                .filter(|n| is_half_written(n))
                .collect();
            let new = |name: &String| is_half_written(name) && !old.contains(name);
            while child.try_wait().unwrap().is_none() && !names(run).iter().any(new) {}
            sleep(*delay);
        }
    }
    // An error here says that it has ended.
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let ended = output.status.signal() != Some(9);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !ended || output.status.success(),
        "{:?}: {stderr}",
        output.status
    );
    assert_eq!(stderr, "");
    ended
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_bits_of_one_that_was_not() {
    let scratch = Scratch::new("kill");
    let (whole, cut) = (scratch.path("whole"), scratch.path("cut"));
    let started = Instant::now();
    assert!(train(&whole).status().unwrap().success());
    let alone = started.elapsed();

    let mut rng = Rng::new(20);
    let (mut kills, mut while_saving, mut steps_lost) = (0, 0, 0);
    let started = Instant::now();
    let mut done = false;
    while !done {
        let mut command = train(&cut);
        if cut.join("run.toml").is_file() {
            command.arg("--resume");
        }
        let child = command.spawn().unwrap();
        if kills == KILLS || started.elapsed() > AT_MOST {
            let output = child.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            break;
        }
        let moment = match rng.below(3) {
            // From the first instruction to some steps into the run.
            0 => Moment::After(alone.mul_f64(rng.uniform() * 0.25)),
            _ => Moment::Saving(Duration::from_micros(rng.below(3000))),
        };
        done = kill(child, &cut, &moment);
        if done {
            break;
        }
        kills += 1;
        while_saving += usize::from(names(&cut).iter().any(|name| is_half_written(name)));
        // A checkpoint under its own name is whole, and at most one step behind what was done.
        let Some((step, checkpoint)) = newest_checkpoint(&cut) else {
            continue;
        };
        for file in ["model.safetensors", "optimizer.safetensors"] {
            Weights::from_files([checkpoint.join(file)]).unwrap();
        }
        let state = fs::read(checkpoint.join("halo.json")).unwrap();
        let _: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let text = fs::read_to_string(cut.join("metrics.jsonl")).unwrap();
        let lost = text.matches('\n').count() as u64 - step;
        assert!(lost <= 1, "{lost} steps lost");
        steps_lost += lost;
    }
    println!(
        "{kills} kills, {while_saving} of them within a checkpoint, {steps_lost} steps lost, {:.1} s; uninterrupted {:.1} s",
        started.elapsed().as_secs_f64(),
        alone.as_secs_f64()
    );
    assert!(
        kills >= 12 && while_saving >= 3,
        "too few kills to prove anything"
    );

    assert_eq!(metrics(&cut).len() as u64, STEPS);
    assert_eq!(metrics(&cut), metrics(&whole));
    // Nothing half-written is left, and nothing else either.
    assert_eq!(names(&cut), names(&whole));
    let last = format!("checkpoint-{STEPS}");
    for name in [
        "model.safetensors".to_string(),
        "config.json".into(),
        "tokenizer.json".into(),
        "examples.jsonl".into(),
        format!("{last}/model.safetensors"),
        format!("{last}/optimizer.safetensors"),
    ] {
        let [a, b] = [&cut, &whole].map(|run| fs::read(run.join(&name)).unwrap());
        assert!(a == b, "{name} differs");
    }
}
