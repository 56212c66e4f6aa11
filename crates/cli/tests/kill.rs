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

const AT_MOST: Duration = Duration::from_secs(15);

fn train(flags: &str, out: &Path) -> Command {
    let mut command = halo("train --quiet --lr 1e-3 --schedule cosine --warmup 5 --save-every 1");
    command
        .args(flags.split_whitespace())
        .arg("--model")
        .arg(fixture("models/llama"))
        .arg("--data")
        .arg(fixture("trl/kto.jsonl"))
        .arg("--out")
        .arg(out)
        .stderr(Stdio::piped());
    command
}

/// When a process is killed.
enum Moment {
    /// So long after so many further steps, or after its start.
    Stepping(usize, Duration),
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

fn steps_done(run: &Path) -> usize {
    let metrics = fs::read(run.join("metrics.jsonl")).unwrap_or_default();
    metrics.iter().filter(|byte| **byte == b'\n').count()
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
        Moment::Stepping(count, delay) => {
            let done = steps_done(run);
            while *count > 0 && child.try_wait().unwrap().is_none() {
                // A resume cuts the metrics back before it goes on.
                if steps_done(run) >= done + count {
                    break;
                }
            }
            sleep(*delay);
        }
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

/// Kills a run at random moments, so often at most, until it has come to its end; then compares it with one left alone.
fn survives(name: &str, flags: &str, steps: u64, at_most: usize) {
    let scratch = Scratch::new(name);
    let flags = &format!("--steps {steps} {flags}");
    let (whole, cut) = (scratch.path("whole"), scratch.path("cut"));
    let started = Instant::now();
    assert!(train(flags, &whole).status().unwrap().success());
    let alone = started.elapsed();

    let mut rng = Rng::new(20);
    let (mut kills, mut while_saving, mut steps_lost) = (0, 0, 0);
    let started = Instant::now();
    let mut done = false;
    while !done {
        let mut command = train(flags, &cut);
        if cut.join("run.toml").is_file() {
            command.arg("--resume");
        }
        let child = command.spawn().unwrap();
        if kills == at_most || started.elapsed() > AT_MOST {
            let output = child.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            break;
        }
        let moment = match rng.below(3) {
            0 => Moment::Stepping(
                rng.below(4) as usize,
                Duration::from_micros(rng.below(10_000)),
            ),
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
        let files = names(&checkpoint);
        let weights: Vec<_> = files
            .iter()
            .filter(|name| name.ends_with(".safetensors"))
            .collect();
        assert_eq!(
            weights.len(),
            2,
            "the model's or the adapter's, and the optimizer's"
        );
        for file in weights {
            Weights::from_files([checkpoint.join(file)]).unwrap();
        }
        let state = fs::read(checkpoint.join("halo.json")).unwrap();
        let _: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let lost = steps_done(&cut) as u64 - step;
        assert!(lost <= 1, "{lost} steps lost");
        steps_lost += lost;
    }
    println!(
        "{name}: {kills} kills, {while_saving} of them within a checkpoint, {steps_lost} steps lost, {:.1} s; uninterrupted {:.1} s",
        started.elapsed().as_secs_f64(),
        alone.as_secs_f64()
    );
    assert!(
        kills >= 8 && while_saving >= 1,
        "too few kills to prove anything"
    );

    assert_eq!(metrics(&cut).len() as u64, steps);
    assert_eq!(metrics(&cut), metrics(&whole));
    // Nothing half-written is left, and nothing else either.
    assert_eq!(names(&cut), names(&whole));
    // The metrics are compared above, but for the seconds; run.toml names its own folder.
    let skipped = |name: &str| ["metrics.jsonl", "run.toml", "halo.json"].contains(&name);
    let last = format!("checkpoint-{steps}");
    for folder in [Path::new(""), Path::new(&last)] {
        for name in names(&whole.join(folder))
            .into_iter()
            .filter(|name| !skipped(name))
        {
            let [a, b] = [&cut, &whole].map(|run| run.join(folder).join(&name));
            if a.is_file() {
                let [a, b] = [a, b].map(|file| fs::read(file).unwrap());
                assert!(a == b, "{name} of {} differs", folder.display());
            }
        }
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_bits_of_one_that_was_not() {
    let flags = format!(
        "--batch-size 2 --record-examples --reference {}",
        fixture("trl/reference-llama").display()
    );
    survives("kill", &flags, 80, 40);
}

#[test]
fn so_does_a_run_with_adapters_accumulation_and_a_precomputed_reference() {
    let flags = "--lora 4 --batch-size 2 --grad-accum 2 --precompute-ref-log-probs";
    survives("kill-adapters", flags, 40, 25);
}
