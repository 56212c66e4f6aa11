//! `halo tune`: the same search twice, a configuration that trains, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/binary.rs"]
mod binary;

use std::path::Path;

use binary::{Said, Scratch, fixture, halo, say};
use serde_json::Value;

fn tune(file: &Path, args: &str) -> Said {
    let mut command = halo("tune --trial-steps 2 --batch-size 8 --lr 1e-2 --json");
    command.arg("--model").arg(fixture("models/qwen2"));
    command.arg("--data").arg(fixture("trl/kto-balanced.jsonl"));
    command.arg("--write").arg(file);
    say(command.args(args.split_whitespace()))
}

fn outcome(said: &Said) -> Value {
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap()
}

#[test]
fn a_search_is_reproducible_and_its_choice_trains() {
    let scratch = Scratch::new("tune");
    let (first, second) = (scratch.path("first.toml"), scratch.path("second.toml"));
    let json = outcome(&tune(
        &first,
        "--held-out 0.3 --betas 0.05,0.5 --balances 1.25",
    ));
    let again = outcome(&tune(
        &second,
        "--held-out 0.3 --betas 0.05,0.5 --balances 1.25",
    ));
    // all but where it was written
    assert_eq!(
        (&json["outcome"], &json["chosen"]),
        (&again["outcome"], &again["chosen"])
    );
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(&first), read(&second));

    let outcome = &json["outcome"];
    let tried = outcome["tried"].as_array().unwrap();
    assert_eq!(
        tried.len(),
        6,
        "three betas, each with and without a balance"
    );
    assert_eq!(
        json["chosen"],
        tried[outcome["chosen"].as_u64().unwrap() as usize]
    );
    let count = |key: &str| outcome[key].as_u64().unwrap();
    assert_eq!(count("training") + count("held_out"), 80);
    let beta = format!("beta = {}", json["chosen"]["beta"][1]);
    assert!(read(&first).contains(&beta), "{beta}\n{}", read(&first));

    let mut left: Vec<_> = std::fs::read_dir(scratch.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["first.toml", "second.toml"],
        "no trial folder is left"
    );

    let mut train = halo("train --steps 1");
    train
        .arg("--config")
        .arg(&first)
        .arg("--out")
        .arg(scratch.path("run"));
    let said = say(&mut train);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(scratch.path("run/metrics.jsonl").is_file());
}

#[test]
fn what_cannot_be_tuned_is_refused_before_anything_runs() {
    let scratch = Scratch::new("tune-refused");
    let file = scratch.path("t.toml");
    for (args, message) in [
        ("--loss sft", "sft"),
        ("--balances 2", "balance 2 is outside 1..=1.5"),
        ("--betas 0", "beta"),
        ("--held-out 1.5", "held"),
    ] {
        let said = tune(&file, args);
        assert_eq!(said.code, Some(2), "{args}: {}", said.stderr);
        assert!(said.stderr.contains(message), "{args}: {}", said.stderr);
        assert!(!file.exists());
    }
}
