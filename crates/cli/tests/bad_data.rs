//! Wrong data ends the program with exit code 3 and one line that says where and why; nothing is written.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures/models/llama")
}

/// Trains on this text; the exit code, and what was said, FILE standing for the data file.
fn train(name: &str, data: &str, flags: &[&str]) -> (i32, String) {
    train_with(&model(), name, data, flags)
}

fn train_with(model: &Path, name: &str, data: &str, flags: &[&str]) -> (i32, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, out) = (
        folder.join(format!("{name}.jsonl")),
        folder.join(format!("{name}-run")),
    );
    let _ = std::fs::remove_dir_all(&out);
    std::fs::write(&file, data).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_halo"))
        .args(["train", "--steps", "1", "--model"])
        .arg(model)
        .arg("--data")
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .args(flags)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(!out.join("model.safetensors").exists(), "{name}");
    let said = String::from_utf8(run.stderr).unwrap();
    let said = said.replace(&file.display().to_string(), "FILE");
    (run.status.code().unwrap(), said.trim_end().to_owned())
}

const GOOD: &str = r#"{"prompt_ids": [5, 6], "completion_ids": [7, 2], "label": true}"#;
const BAD: &str = r#"{"prompt_ids": [5, 6], "completion_ids": [8, 2], "label": false}"#;

#[test]
fn a_malformed_line_is_named_by_number() {
    assert_eq!(
        train("malformed", &format!("{GOOD}\n{{\"prompt\": \n"), &[]),
        (
            3,
            "error: FILE, line 2: not JSON: the line ends too early, at column 11".into()
        )
    );
}

#[test]
fn a_missing_field_is_named() {
    let line = r#"{"prompt": "a", "completion": "b"}"#;
    assert_eq!(
        train("missing", line, &[]),
        (3, "error: FILE, line 1: `label` is missing".into())
    );
}

#[test]
fn a_label_of_the_wrong_type_is_shown() {
    let line = r#"{"prompt": "a", "completion": "b", "label": "good"}"#;
    assert_eq!(
        train("label", line, &[]),
        (
            3,
            r#"error: FILE, line 1: `label` must be true, false, 1, 0 or -1, not the string "good""#.into()
        )
    );
}

#[test]
fn only_empty_completions_are_no_data() {
    let line = r#"{"prompt": "t5 t6", "completion": "", "label": true}"#;
    assert_eq!(
        train("empty-completion", line, &[]),
        (
            3,
            "error: FILE: none of 1 records is left (1 dropped: empty completion)".into()
        )
    );
}

#[test]
fn prompts_that_fill_the_limit_are_no_data() {
    assert_eq!(
        train("limit", &format!("{GOOD}\n{BAD}"), &["--max-length", "2"]),
        (
            3,
            "error: FILE: none of 2 records is left (2 dropped: nothing of the completion is left within the length limits)"
                .into()
        )
    );
}

#[test]
fn an_empty_file_is_refused() {
    assert_eq!(
        train("empty", "\n", &[]),
        (3, "error: FILE: no records: the file is empty".into())
    );
}

#[test]
fn one_class_only_is_refused() {
    assert_eq!(
        train("class", &format!("{GOOD}\n{GOOD}"), &[]),
        (
            3,
            "error: FILE: all 2 completions are desirable; this loss learns from both classes"
                .into()
        )
    );
}

#[test]
fn labelled_completions_are_no_pairs() {
    let (code, said) = train("pairs", GOOD, &["--loss", "dpo"]);
    assert_eq!(code, 3);
    assert!(
        said.starts_with("error: FILE, line 1: this loss compares two completions of one prompt: "),
        "{said}"
    );
}

#[test]
fn a_token_outside_the_model_is_named() {
    let line = GOOD.replace('7', "96");
    assert_eq!(
        train("vocabulary", &line, &[]),
        (
            3,
            "error: FILE, line 1: token 96 is outside the model's vocabulary of 96".into()
        )
    );
}

#[test]
fn an_absent_file_is_a_file_that_cannot_be_read() {
    let run = Command::new(env!("CARGO_BIN_EXE_halo"))
        .args(["train", "--data", "no/such.jsonl", "--out"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("absent-run"))
        .arg("--model")
        .arg(model())
        .output()
        .unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(5));
    assert!(said.starts_with("error: no/such.jsonl: "), "{said}");
}

#[test]
fn text_needs_a_tokenizer() {
    // A model folder with everything but the tokenizer.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-tokenizer");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(model().join(name), folder.join(name)).unwrap();
    }
    let line = r#"{"prompt": "a", "completion": "b", "label": true}"#;
    assert_eq!(
        train_with(&folder, "text", line, &[]),
        (
            3,
            "error: FILE, line 1: the data is text, and there is no tokenizer; give token ids (prompt_ids, completion_ids)"
                .into()
        )
    );
    let (code, said) = {
        let run = Command::new(env!("CARGO_BIN_EXE_halo"))
            .args(["generate", "--prompt", "a", "--model"])
            .arg(&folder)
            .output()
            .unwrap();
        (run.status.code(), String::from_utf8(run.stderr).unwrap())
    };
    assert_eq!(code, Some(4));
    assert!(said.contains("tokenizer.json is missing"), "{said}");
}
