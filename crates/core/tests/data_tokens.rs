//! Prompt and completion tokens are TRL's, and the prompt's tokens are always a prefix.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};

use halo_core::data::{self, Boundary, DataOptions, Prompt};
use halo_core::tokenizer::Tokenizer;
use halo_loss::{DataShape, Label};
use halo_train::{Record, Unit};
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures")
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::load(fixtures().join("tokenizers").join(name)).unwrap()
}

fn file(name: &str, lines: &[Value]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("tokens-{}.jsonl", name.replace('/', "-")));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text).unwrap();
    path
}

fn options(shape: DataShape, boundary: Boundary) -> DataOptions {
    DataOptions {
        boundary,
        allow_one_class: true,
        ..DataOptions::new(shape)
    }
}

/// The fixture's rows in our order: TRL puts all chosen before all rejected, we alternate.
fn theirs(set: &Value) -> Vec<(Vec<u32>, Vec<u32>, Label)> {
    let ids =
        |row: &Value, key: &str| serde_json::from_value::<Vec<u32>>(row[key].clone()).unwrap();
    let rows = set["rows"].as_array().unwrap();
    if set["paired"] == json!(true) {
        return rows
            .iter()
            .flat_map(|row| {
                [
                    ("chosen_ids", Label::Desirable),
                    ("rejected_ids", Label::Undesirable),
                ]
                .map(|(key, label)| (ids(row, "prompt_ids"), ids(row, key), label))
            })
            .collect();
    }
    let lines = set["lines"].as_array().unwrap().len();
    let order: Vec<usize> = match rows.len() / lines {
        1 => (0..lines).collect(),
        _ => (0..lines).flat_map(|line| [line, line + lines]).collect(),
    };
    order
        .into_iter()
        .map(|row| {
            let row = &rows[row];
            let label = match row["label"].as_bool().unwrap() {
                true => Label::Desirable,
                false => Label::Undesirable,
            };
            (ids(row, "prompt_ids"), ids(row, "completion_ids"), label)
        })
        .collect()
}

#[test]
fn tokens_and_labels_are_those_of_trl() {
    let text = std::fs::read_to_string(fixtures().join("data.json")).unwrap();
    let sets: Vec<Value> = serde_json::from_str(&text).unwrap();
    for set in sets {
        let name = set["name"].as_str().unwrap();
        let tokenizer = tokenizer(set["tokenizer"].as_str().unwrap());
        let shape = match set["paired"] == json!(true) {
            true => DataShape::Paired,
            false => DataShape::Unpaired,
        };
        let path = file(name, set["lines"].as_array().unwrap());
        let load =
            |boundary| data::load(&[&path], Some(&tokenizer), &options(shape, boundary)).unwrap();
        let loaded = load(Boundary::Trl);
        let theirs = theirs(&set);
        let mut expected = theirs.clone();
        // For an unpaired loss TRL takes the sides of a pair apart before it finds their borders; we keep one prompt for both.
        let pairs = shape == DataShape::Unpaired && set["lines"][0]["chosen"] != Value::Null;
        if pairs {
            for sides in expected.chunks_mut(2) {
                let prompt = sides.iter().map(|side| side.0.len()).min().unwrap();
                for side in sides {
                    let rest = side.0.split_off(prompt);
                    side.1.splice(0..0, rest);
                }
            }
        }
        let ours = |records: &[Record]| -> Vec<_> {
            records
                .iter()
                .map(|record| {
                    (
                        record.prompt.clone(),
                        record.completion.clone(),
                        record.label,
                    )
                })
                .collect()
        };
        assert_eq!(ours(&loaded.dataset.records), expected, "{name}");

        // Exact borders differ only where a border joins.
        let exact = load(Boundary::Exact);
        let apart = ours(&exact.dataset.records)
            .iter()
            .zip(&theirs)
            .filter(|(ours, theirs)| ours != theirs)
            .count();
        let per_line = expected.len() / exact.report.read;
        assert!(apart <= exact.report.joined * per_line, "{name}: {apart}");
        assert_eq!(exact.report.joined, loaded.report.joined, "{name}");
        if name.contains("unpaired") {
            assert!(
                exact.report.joined > 0,
                "the fixture must hold borders that join"
            );
        }
    }
}

#[test]
fn an_exact_prompt_has_the_tokens_that_it_has_alone() {
    let parts = [
        "The sky",
        " is",
        "is ",
        "",
        " ",
        "\n",
        "é",
        "😀",
        "12",
        "<s>",
        "<|im_end|>",
        "caf",
        "▁",
        "a b",
    ];
    for name in ["byte-level", "sentence-piece"] {
        let tokenizer = tokenizer(name);
        let mut lines = Vec::new();
        for (number, first) in parts.iter().enumerate() {
            for second in parts {
                for completion in parts.iter().filter(|completion| !completion.is_empty()) {
                    let prompt = format!("{first}{second}");
                    // Nothing before it, and nothing but the end: there is nothing to score.
                    if prompt.is_empty() && *completion == "<|im_end|>" {
                        continue;
                    }
                    lines.push(json!({"prompt": prompt, "completion": completion, "label": number % 2 == 0}));
                }
            }
        }
        let path = file(&format!("{name}-prefix"), &lines);
        let loaded = data::load(
            &[&path],
            Some(&tokenizer),
            &options(DataShape::Unpaired, Boundary::Exact),
        )
        .unwrap();
        assert_eq!(loaded.dataset.records.len(), lines.len());
        let eos = tokenizer.eos().unwrap();
        for (record, line) in loaded.dataset.records.iter().zip(&lines) {
            let prompt = line["prompt"].as_str().unwrap();
            assert_eq!(
                record.prompt,
                tokenizer.encode_start(prompt).unwrap(),
                "{line}"
            );
            // The sequence says what the line says, wherever the border is: no space comes in between.
            let tokens = [record.prompt.as_slice(), &record.completion].concat();
            let text = tokenizer.decode(&tokens, false).unwrap();
            let whole = format!("{prompt}{}", line["completion"].as_str().unwrap());
            assert_eq!(text, spoken(&tokenizer, &whole), "{line}");
            assert_eq!(record.completion.last(), Some(&eos), "{line}");
            assert_eq!(
                record
                    .completion
                    .iter()
                    .filter(|token| **token == eos)
                    .count(),
                1,
                "{line}"
            );
        }
        // Equal prompts have equal tokens, so the completions of a prompt stand in one group.
        let prompts: std::collections::HashSet<_> =
            lines.iter().map(|line| line["prompt"].as_str()).collect();
        let groups = loaded
            .dataset
            .records
            .iter()
            .map(|record| record.group)
            .max()
            .unwrap()
            + 1;
        assert!(groups as usize <= prompts.len());
    }
}

#[test]
fn a_prompt_for_generation_has_the_tokens_of_training() {
    for name in ["byte-level", "sentence-piece"] {
        let tokenizer = tokenizer(name);
        let messages = json!([{"role": "user", "content": "sky?"}]);
        let lines = [
            json!({"prompt": "The sky is", "completion": " blue", "label": true}),
            json!({"prompt": messages, "completion": [{"role": "assistant", "content": "blue"}], "label": true}),
        ];
        let path = file(&format!("{name}-generation"), &lines);
        let loaded = data::load(
            &[&path],
            Some(&tokenizer),
            &options(DataShape::Unpaired, Boundary::Exact),
        )
        .unwrap();
        let prompts = data::load_prompts(&path, &tokenizer).unwrap();
        for (prompt, record) in prompts.iter().zip(&loaded.dataset.records) {
            assert_eq!(prompt.tokens, record.prompt);
            assert_eq!(prompt.id, record.id);
        }
        assert_eq!(prompts[0].fields["completion"], " blue");
        let text = Prompt::text(&tokenizer, "p", "The sky is").unwrap();
        assert_eq!(text.tokens, prompts[0].tokens);
    }
}

#[test]
fn special_tokens_are_those_of_the_folder() {
    let bytes = tokenizer("byte-level");
    assert_eq!(
        (bytes.bos(), bytes.eos()),
        (None, bytes.token("<|im_end|>"))
    );
    assert_eq!(bytes.pad(), bytes.token("<|endoftext|>"));
    let pieces = tokenizer("sentence-piece");
    assert_eq!((pieces.bos(), pieces.eos()), (Some(1), Some(2)));
    assert_eq!(pieces.stop_tokens(), [2]);
    assert_eq!(pieces.encode_start("").unwrap(), [1]);
    assert_eq!(pieces.encode_start("</s>").unwrap().first(), Some(&1));
    for tokenizer in [&bytes, &pieces] {
        let text = "It isn't «naïve»: 2 + 2 = 4 東京 😀\n  x";
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&tokens, false).unwrap(), text);
        assert!(
            tokens
                .iter()
                .all(|token| (*token as usize) < tokenizer.vocab_size())
        );
    }
}

#[test]
fn pairs_serve_an_unpaired_loss_in_turn() {
    let lines = [
        json!({"id": 7, "prompt": "a", "chosen": " b", "rejected": " c"}),
        json!({"id": "x", "prompt": "d", "chosen": " e", "rejected": " f"}),
    ];
    let path = file("turns", &lines);
    let tokenizer = tokenizer("sentence-piece");
    let loaded = data::load(
        &[&path],
        Some(&tokenizer),
        &DataOptions::new(DataShape::Unpaired),
    )
    .unwrap();
    let ids: Vec<_> = loaded
        .dataset
        .records
        .iter()
        .map(|record| record.id.as_str())
        .collect();
    assert_eq!(ids, ["7/chosen", "7/rejected", "x/chosen", "x/rejected"]);
    let labels: Vec<_> = loaded
        .dataset
        .records
        .iter()
        .map(|record| record.label)
        .collect();
    assert_eq!(
        labels,
        [
            Label::Desirable,
            Label::Undesirable,
            Label::Desirable,
            Label::Undesirable
        ]
    );
    assert!((0..4).all(|index| loaded.dataset.units[index] == Unit::Single(index)));
    let paired = data::load(
        &[&path],
        Some(&tokenizer),
        &DataOptions::new(DataShape::Paired),
    )
    .unwrap();
    assert_eq!(
        paired.dataset.units[1],
        Unit::Pair {
            chosen: 2,
            rejected: 3
        }
    );
    assert_eq!(
        (
            &*paired.texts[3].prompt,
            paired.texts[3].completion.as_str()
        ),
        ("d", " f")
    );
}

/// A text as the tokenizer gives it back in one piece: normalised, without special tokens.
fn spoken(tokenizer: &Tokenizer, text: &str) -> String {
    let tokens = tokenizer.encode_start(text).unwrap();
    tokenizer.decode(&tokens, false).unwrap()
}
