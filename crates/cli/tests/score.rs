//! `halo score`: one line a completion, the accuracy on pairs, and no language model.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/binary.rs"]
mod binary;

use std::path::Path;

use binary::{Said, Scratch, fixture, halo, say};
use halo_core::weights::Weights;
use serde_json::Value;

fn score(model: &Path, data: &Path, args: &str) -> Said {
    let mut command = halo("score");
    command.arg("--model").arg(model).arg("--data").arg(data);
    say(command.args(args.split_whitespace()))
}

fn lines(said: &Said) -> Vec<Value> {
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let lines = said.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn both_sides_of_a_pair_get_the_scores_of_transformers() {
    let reward = fixture("reward");
    let said = score(&reward, &reward.join("pairs.jsonl"), "");
    let scored = lines(&said);
    let expected = Weights::from_files([reward.join("expected.safetensors")]).unwrap();
    let expected = expected.read("scores", &[6]).unwrap();
    assert_eq!(scored.len(), 6);
    for (line, expected) in scored.iter().zip(&expected) {
        let score = line["score"].as_f64().unwrap();
        assert!(
            (score - f64::from(*expected)).abs() < 1e-5,
            "{line} {expected}"
        );
    }
    assert_eq!(scored[0]["id"], "pairs.jsonl:1/chosen");
    assert_eq!(scored[1]["id"], "pairs.jsonl:1/rejected");
    let correct = expected.chunks(2).filter(|pair| pair[0] > pair[1]).count();
    let note = format!("scores higher in {correct} of 3 pairs");
    assert!(said.stderr.contains(&note), "{}", said.stderr);

    let json = lines(&score(&reward, &reward.join("pairs.jsonl"), "--json"));
    assert_eq!(json.len(), 7);
    assert_eq!(json[6]["pairs"], 3);
    assert_eq!(json[6]["correct"], correct);
}

#[test]
fn single_completions_have_no_accuracy() {
    let scratch = Scratch::new("score-single");
    let line = r#"{"id": "x", "prompt_ids": [5, 6], "completion_ids": [7, 2]}"#;
    let data = scratch.file("data.jsonl", &format!("{line}\n").repeat(40));
    let said = lines(&score(&fixture("reward"), &data, "--json"));
    assert_eq!(said.len(), 40);
    assert!(said.iter().all(|line| line["id"] == "x"));
    let far = scratch.file("far.jsonl", &line.replace('7', "70000"));
    let said = score(&fixture("reward"), &far, "");
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.stderr.contains("70000"), "{}", said.stderr);
}

#[test]
fn a_language_model_is_refused() {
    let said = score(&fixture("models/qwen2"), &fixture("reward/pairs.jsonl"), "");
    assert_eq!(said.code, Some(4));
    assert!(
        said.stderr.contains("is a language model"),
        "{}",
        said.stderr
    );
    assert_eq!(said.stdout, "");
}
