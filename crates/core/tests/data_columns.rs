//! Numbers beside completions, scored groups, labels from scores, control texts: read, refused, cut with their tokens.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};

use halo_core::config::TrainConfig;
use halo_core::data::{self, Control, DataOptions, Limits, Loaded};
use halo_core::session::Session;
use halo_core::tokenizer::Tokenizer;
use halo_core::{Error, Result};
use halo_loss::{DataShape, Label};
use halo_train::Unit;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::load(fixtures().join("tokenizers/byte-level")).unwrap()
}

fn file(name: &str, content: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("columns-{name}.jsonl"));
    std::fs::write(&path, content).unwrap();
    path
}

fn of(shape: DataShape) -> DataOptions {
    DataOptions {
        allow_one_class: true,
        ..DataOptions::new(shape)
    }
}

fn load(name: &str, content: &str, options: &DataOptions) -> Result<Loaded> {
    data::load(&[file(name, content)], Some(&tokenizer()), options)
}

fn refusal(name: &str, content: &str, options: &DataOptions) -> Error {
    load(name, content, options).unwrap_err()
}

#[test]
fn columns_reach_the_records() {
    let text = r#"{"prompt": "a", "completion": "b", "label": true, "score": -3, "weight": 0, "beta_scale": 0.5}
{"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": 8.5, "score_rejected": 3, "weight": 2}
{"prompt_ids": [5], "completion_ids": [8, 2], "label": false, "old_logps": [-1.25, 0], "score": null}
{"prompt_ids": [5], "chosen_ids": [8, 2], "rejected_ids": [9], "chosen_old_logps": [-1, -2], "rejected_old_logps": [-3]}
"#;
    let records = load("all", text, &of(DataShape::Unpaired))
        .unwrap()
        .dataset
        .records;
    let read: Vec<_> = records
        .iter()
        .map(|record| (record.score, record.weight, record.beta_scale))
        .collect();
    assert_eq!(
        read,
        [
            (Some(-3.0), 0.0, 0.5),
            (Some(8.5), 2.0, 1.0),
            (Some(3.0), 2.0, 1.0),
            (None, 1.0, 1.0),
            (None, 1.0, 1.0),
            (None, 1.0, 1.0)
        ]
    );
    assert_eq!(records[3].old_logps, [-1.25, 0.0]);
    assert_eq!(records[4].old_logps, [-1.0, -2.0]);
    assert_eq!(records[5].old_logps, [-3.0]);
    assert!(records[0].old_logps.is_empty());
}

#[test]
fn log_probabilities_are_cut_with_their_tokens() {
    let text = r#"{"prompt_ids": [5], "completion_ids": [8, 9, 2], "label": true, "old_logps": [-1, -2, -3]}
{"prompt_ids": [], "completion_ids": [8, 9, 7, 2], "label": true, "old_logps": [-1, -2, -3]}"#;
    let options = DataOptions {
        limits: Limits {
            max_completion_length: Some(2),
            ..Limits::default()
        },
        ..of(DataShape::Unpaired)
    };
    let loaded = load("cut", text, &options).unwrap();
    let records = &loaded.dataset.records;
    assert_eq!(records[0].old_logps, [-1.0, -2.0]);
    assert_eq!(
        records[1].old_logps,
        [-1.0],
        "the first token is context after an empty prompt"
    );
    assert_eq!(loaded.report.truncated, 2);
}

#[test]
fn wrong_columns_are_named_with_line_key_and_value() {
    let line =
        |more: &str| format!(r#"{{"prompt": "a", "completion": "b", "label": true, {more}}}"#);
    let pair = |more: &str| format!(r#"{{"prompt": "a", "chosen": "b", "rejected": "c", {more}}}"#);
    let ids = |more: &str| {
        format!(r#"{{"prompt_ids": [5], "completion_ids": [8, 2], "label": true, {more}}}"#)
    };
    let list = |more: &str| format!(r#"{{"prompt": "a", "completions": ["b", "c"], {more}}}"#);
    let cases = [
        (
            line(r#""score": "high""#),
            r#"`score` must be a number, not the string "high""#,
        ),
        (
            line(r#""score": true"#),
            "`score` must be a number, not true",
        ),
        (
            line(r#""score": NaN"#),
            "not JSON: expected value at column 60",
        ),
        (
            line(r#""score": 1e999"#),
            "not JSON: number out of range at column 64",
        ),
        (
            line(r#""weight": -1"#),
            "`weight` must be a number of 0 or more, not the number -1",
        ),
        (
            line(r#""weight": "1""#),
            r#"`weight` must be a number of 0 or more, not the string "1""#,
        ),
        (
            line(r#""beta_scale": 0"#),
            "`beta_scale` must be a number above 0, not the number 0",
        ),
        (
            line(r#""beta_scale": []"#),
            "`beta_scale` must be a number above 0, not a list",
        ),
        (
            line(r#""old_logps": [-1]"#),
            "`old_logps` needs token ids (prompt_ids, completion_ids): log-probabilities belong to tokens",
        ),
        (
            ids(r#""old_logps": [-1]"#),
            "`old_logps` has 1 numbers for 2 scored tokens; give one for each",
        ),
        (
            ids(r#""old_logps": [-1, 0.5]"#),
            "`old_logps` holds 0.5; a log-probability is at most 0",
        ),
        (
            ids(r#""old_logps": [-1, null]"#),
            "entry 2 of `old_logps` must be a number, not null",
        ),
        (
            ids(r#""old_logps": -1"#),
            "`old_logps` must be a list of numbers, not the number -1",
        ),
        (
            pair(r#""chosen_score": 1"#),
            "give both `chosen_score` and `rejected_score`, or neither",
        ),
        (
            pair(r#""chosen_score": 1, "score_chosen": 1"#),
            "`chosen_score` and `score_chosen` are both there; give one",
        ),
        (
            pair(r#""score": 1"#),
            "`score` belongs to a line with one completion, and this is a line with `chosen` and `rejected`: give \
             `chosen_score` and `rejected_score`",
        ),
        (
            line(r#""scores": [1]"#),
            "`scores` belongs to a line with `completions`, and this is a line with one completion",
        ),
        (
            list(r#""scores": [1]"#),
            "`scores` has 1 numbers for 2 `completions`; give one for each",
        ),
        (
            list(r#""scores": [1, "x"]"#),
            r#"entry 2 of `scores` must be a number, not the string "x""#,
        ),
        (
            list(r#""scores": [1, 2], "label": true"#),
            "a label cannot judge several `completions`; give `scores`, or a line for each",
        ),
        (
            r#"{"prompt": "a", "completions": []}"#.into(),
            "`completions` is an empty list",
        ),
        (
            r#"{"prompt": "a", "completions": ["b", 3]}"#.into(),
            "`completions[1]` must be a string or a list of messages, not the number 3",
        ),
        (
            list(r#""scores": [1, 2]"#),
            "`label` is missing; score_threshold makes labels of scores: at least that much is desirable",
        ),
    ];
    for (number, (text, expected)) in cases.iter().enumerate() {
        let text = format!("{}\n{text}\n", line(r#""score": 1"#));
        let error = refusal("wrong", &text, &of(DataShape::Unpaired));
        assert!(error.is_data(), "{error}");
        let said = error.to_string();
        let (place, reason) = said.split_once(", line 2: ").unwrap();
        assert!(place.ends_with("columns-wrong.jsonl"), "{said}");
        assert_eq!(reason, *expected, "case {number}");
    }
}

const SCORED: &str = r#"{"prompt": "p", "completion": "a", "score": 0.9}
{"prompt": "q", "completions": ["b", "c", "d"], "scores": [0.5, 0, -1], "weight": 2, "id": "list"}
{"prompt": "p", "completion": "e", "label": false}
{"prompt": "r", "chosen": "f", "rejected": "g"}
{"prompt": "r", "chosen": "f", "rejected": "g", "chosen_score": 3, "rejected_score": 2}
{"prompt": "p", "completion": "h", "score": 0.9, "label": false}
"#;

#[test]
fn every_shape_becomes_scored_completions() {
    let loaded = load("grouped", SCORED, &of(DataShape::Grouped)).unwrap();
    let records = &loaded.dataset.records;
    let scores: Vec<_> = records.iter().map(|record| record.score.unwrap()).collect();
    assert_eq!(
        scores,
        [0.9, 0.5, 0.0, -1.0, -1.0, 1.0, -1.0, 3.0, 2.0, 0.9]
    );
    let good: Vec<_> = records
        .iter()
        .map(|record| record.label == Label::Desirable)
        .collect();
    assert_eq!(
        good,
        [
            true, true, false, false, false, true, false, true, false, false
        ],
        "a given label stays; else a score above 0 is desirable"
    );
    let groups: Vec<_> = records.iter().map(|record| record.group).collect();
    assert_eq!(groups, [0, 1, 1, 1, 0, 2, 2, 2, 2, 0]);
    assert_eq!(records[2].id, "list/2");
    assert_eq!(records[2].weight, 2.0);
    assert_eq!(loaded.dataset.units[3], Unit::Single(3));
    assert_eq!(loaded.report.derived_scores, 3);

    let error = refusal(
        "bare",
        r#"{"prompt": "p", "completion": "a"}"#,
        &of(DataShape::Grouped),
    );
    assert!(error.to_string().contains("`score` is missing"), "{error}");
    let one = DataOptions {
        one_y_per_x: true,
        ..of(DataShape::Grouped)
    };
    assert!(refusal("one", SCORED, &one).is_parameter());
}

#[test]
fn a_threshold_makes_labels_of_scores() {
    let options = DataOptions {
        score_threshold: Some(0.5),
        ..of(DataShape::Unpaired)
    };
    let loaded = load("threshold", SCORED, &options).unwrap();
    let good: Vec<_> = loaded
        .dataset
        .records
        .iter()
        .map(|record| record.label == Label::Desirable)
        .collect();
    assert_eq!(
        good,
        [
            true, true, false, false, false, true, false, true, false, false
        ]
    );
    let wanted = DataOptions {
        shape: DataShape::Any,
        ..options.clone()
    };
    let loaded = load("threshold-any", SCORED, &wanted).unwrap();
    assert_eq!(
        (loaded.report.kept, loaded.report.dropped_undesirable),
        (4, 6)
    );
    let pairs = DataOptions {
        shape: DataShape::Paired,
        ..options.clone()
    };
    assert!(refusal("threshold-pairs", SCORED, &pairs).is_parameter());
    let endless = DataOptions {
        score_threshold: Some(f64::NAN),
        ..options
    };
    assert!(refusal("threshold-nan", SCORED, &endless).is_parameter());
}

const JUDGED: &str = r#"{"prompt": "ask", "completion": "b", "label": true}
{"prompt": "ask", "completion": "c", "label": false}
{"prompt": "ask", "completion": "b", "label": false}
"#;

fn controlled(limits: Limits) -> DataOptions {
    DataOptions {
        limits,
        control: Some(Control::default()),
        ..of(DataShape::Unpaired)
    }
}

#[test]
fn a_control_text_ends_the_prompt_and_is_not_scored() {
    let tokenizer = tokenizer();
    let plain = load("plain", JUDGED, &of(DataShape::Unpaired)).unwrap();
    let loaded = load("control", JUDGED, &controlled(Limits::default())).unwrap();
    let [good, bad] =
        ["<|good|>", "<|bad|>"].map(|text| tokenizer.encode_continuation(text).unwrap());
    assert_ne!(good, bad);
    for (record, before) in loaded.dataset.records.iter().zip(&plain.dataset.records) {
        let control = match record.label {
            Label::Desirable => &good,
            Label::Undesirable => &bad,
        };
        assert_eq!(record.prompt, [&before.prompt[..], control].concat());
        assert_eq!(record.completion, before.completion);
        assert_eq!(record.scored_tokens(), before.scored_tokens());
    }
    assert_eq!(&*loaded.texts[1].prompt, "ask<|bad|>");
    assert_eq!(loaded.report.controlled, 3);
    assert_eq!(
        (loaded.report.prompts, loaded.report.contradictions),
        (1, 1),
        "what is equal without the control text is found"
    );
    assert!(loaded.report.to_string().contains("3 with a control text"));
}

#[test]
fn a_control_text_is_never_cut() {
    let tokenizer = tokenizer();
    let longest = ["<|good|>", "<|bad|>"]
        .map(|text| tokenizer.encode_continuation(text).unwrap().len())
        .into_iter()
        .max()
        .unwrap();
    let limits = |max| Limits {
        max_prompt_length: Some(max),
        ..Limits::default()
    };
    let loaded = load("limit", JUDGED, &controlled(limits(longest + 1))).unwrap();
    for record in &loaded.dataset.records {
        assert!(record.prompt.len() <= longest + 1);
    }
    assert_eq!(loaded.report.truncated_prompts, 3);
    let error = refusal("limit", JUDGED, &controlled(limits(longest)));
    assert_eq!(error.argument(), Some("max_prompt_length"));
}

#[test]
fn control_texts_that_cannot_work_are_refused() {
    let with = |desirable: &str, undesirable: &str, shape| DataOptions {
        control: Some(Control {
            desirable: desirable.into(),
            undesirable: undesirable.into(),
        }),
        ..of(shape)
    };
    let equal = refusal("control", JUDGED, &with("x", "x", DataShape::Unpaired));
    assert_eq!(equal.argument(), Some("control_undesirable"));
    assert!(refusal("control", JUDGED, &with("x", "y", DataShape::Paired)).is_parameter());

    let ids = file(
        "control-ids",
        r#"{"prompt_ids": [5, 3], "completion_ids": [8, 2], "label": true}"#,
    );
    let error = data::load(&[&ids], None, &with("x", "", DataShape::Unpaired)).unwrap_err();
    assert_eq!(error.argument(), Some("control_desirable"));
    assert!(error.to_string().contains("no tokenizer"), "{error}");
    let loaded = data::load(&[&ids], None, &with("", "", DataShape::Unpaired)).unwrap();
    assert_eq!(loaded.dataset.records[0].prompt, [5, 3]);
    assert_eq!(loaded.report.controlled, 0);
}

#[test]
fn a_run_with_control_texts_trains_and_others_refuse_them() {
    let out = std::env::temp_dir().join(format!("halo-control-{}", std::process::id()));
    let config = |loss: &str, text: Option<&str>| TrainConfig {
        model: fixtures().join("models/llama"),
        data: vec![file(
            "control-run",
            r#"{"prompt_ids": [5, 3], "completion_ids": [8, 2], "label": true}
{"prompt_ids": [5, 4], "completion_ids": [9, 2], "label": false}"#,
        )],
        loss: loss.into(),
        control_desirable: text.map(String::from),
        control_undesirable: text.map(String::from),
        max_steps: Some(1),
        output_dir: out.clone(),
        ..TrainConfig::default()
    };
    let mut session = Session::open(config("csft", Some("")), false).unwrap();
    while session.step().unwrap().is_some() {}
    std::fs::remove_dir_all(&out).unwrap();
    let Err(error) = Session::open(config("kto", Some("x")), false) else {
        panic!("kto has no control texts")
    };
    assert_eq!(error.argument(), Some("control_desirable"));
}
