//! Data files: every shape is read, every wrong line is named, every cut is counted.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::path::{Path, PathBuf};

use halo_core::data::{self, DataOptions, Keep, Limits, Loaded};
use halo_core::tokenizer::Tokenizer;
use halo_core::{Error, Result};
use halo_loss::{DataShape, Label};
use halo_train::Unit;

fn tokenizer() -> Tokenizer {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures/tokenizers");
    Tokenizer::load(fixtures.join("byte-level")).unwrap()
}

/// A file of this content; every test gives its own name.
fn file(name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn load(path: &Path, options: &DataOptions) -> Result<Loaded> {
    data::load(&[path], Some(&tokenizer()), options)
}

fn unpaired() -> DataOptions {
    DataOptions::new(DataShape::Unpaired)
}

/// What a file's error says, without the file's name.
fn complaint(name: &str, content: impl AsRef<[u8]>, options: &DataOptions) -> String {
    let path = file(name, content);
    let error: Error = load(&path, options).unwrap_err();
    assert!(error.is_data(), "{error}");
    error
        .to_string()
        .replace(&path.display().to_string(), "FILE")
}

const GOOD: &str = r#"{"prompt": "a", "completion": "b", "label": true}"#;
const BAD: &str = r#"{"prompt": "a", "completion": "c", "label": false}"#;

#[test]
fn a_wrong_line_is_named_with_its_number_and_reason() {
    let cases: &[(&str, &str)] = &[
        (
            r#"{"prompt": "a", "completion": "b", "label": tru}"#,
            "not JSON: expected ident at column 48",
        ),
        (
            r#"{"prompt": "a", "completion": "b""#,
            "not JSON: the line ends too early, at column 33",
        ),
        (
            r#"["a", "b", true]"#,
            "a list begins here, but each line must be one object (JSON Lines)",
        ),
        (r#""a""#, r#"each line must be a JSON object, not "a""#),
        (
            "prompt,completion,label",
            "each line must be a JSON object, not prompt,completion,label",
        ),
        (
            r#"{"prompt": "a", "completion": "b"}"#,
            "`label` is missing",
        ),
        (
            r#"{"prompt": "a", "completion": "b", "label": null}"#,
            "`label` is missing",
        ),
        (
            r#"{"prompt": "a", "label": true}"#,
            "`completion` is missing",
        ),
        (
            r#"{"completion": "a", "label": true}"#,
            "`prompt` is missing",
        ),
        (r#"{"prompt": "a", "chosen": "b"}"#, "`rejected` is missing"),
        (
            r#"{"prompt_ids": [1], "label": true}"#,
            "`completion_ids` is missing",
        ),
        (
            r#"{"prompt": "a", "completion": "b", "label": "yes"}"#,
            r#"`label` must be true, false, 1, 0 or -1, not the string "yes""#,
        ),
        (
            r#"{"prompt": "a", "completion": "b", "label": 0.5}"#,
            "`label` must be true, false, 1, 0 or -1, not the number 0.5",
        ),
        (
            r#"{"prompt": "a", "completion": "b", "label": 2}"#,
            "`label` must be true, false, 1, 0 or -1, not the number 2",
        ),
        (
            r#"{"prompt": "a", "completion": "b", "kto_tag": []}"#,
            "`kto_tag` must be true, false, 1, 0 or -1, not a list",
        ),
        (
            r#"{"prompt": "a", "completion": "b", "label": true, "kto_tag": true}"#,
            "`label` and `kto_tag` are both there; give one",
        ),
        (
            r#"{"prompt": "a", "prompt": "b", "completion": "c", "label": true}"#,
            "duplicate field `prompt`",
        ),
        (
            r#"{"prompt": 3, "completion": "b", "label": true}"#,
            "`prompt` must be a string or a list of messages, not the number 3",
        ),
        (
            r#"{"prompt": "a", "completion": {"x": 1}, "label": true}"#,
            "`completion` must be a string or a list of messages, not an object",
        ),
        (
            r#"{"prompt": [], "completion": [], "label": true}"#,
            "`prompt` is an empty list of messages",
        ),
        (
            r#"{"prompt": ["a"], "completion": "b", "label": true}"#,
            r#"message 1 of `prompt` must be an object with role and content, not the string "a""#,
        ),
        (
            r#"{"prompt": [{"content": "a"}], "completion": "b", "label": true}"#,
            "message 1 of `prompt`: `role` is missing",
        ),
        (
            r#"{"prompt": [{"role": "user", "content": 1}], "completion": "b", "label": true}"#,
            "message 1 of `prompt`: `content` must be a string, not the number 1",
        ),
        (
            r#"{"prompt": [{"role": "user", "content": "a"}], "completion": "b", "label": true}"#,
            "`prompt` is a list of messages, but `completion` is text; give both in one form",
        ),
        (
            r#"{"prompt": "a", "completion": "b", "chosen": "c", "rejected": "d"}"#,
            "`completion` and `chosen` are both there; give one of the shapes",
        ),
        (
            r#"{"chosen": "abc", "rejected": "xyz"}"#,
            "`prompt` is missing, and `chosen` and `rejected` share no beginning",
        ),
        (
            r#"{"messages": [{"role": "user", "content": "a"}], "kto_tag": true}"#,
            "`messages` must end with an assistant's message, behind at least one other",
        ),
        (
            r#"{"prompt_ids": [1, -2], "completion_ids": [3], "label": true}"#,
            "`prompt_ids` must hold token ids, not the number -2",
        ),
        (
            r#"{"prompt_ids": [1], "completion_ids": "3", "label": true}"#,
            r#"`completion_ids` must be a list of token ids, not the string "3""#,
        ),
        (
            r#"{"id": [], "prompt": "a", "completion": "b", "label": true}"#,
            "`id` must be a string or a number, not a list",
        ),
        (
            r#"{"instruction": "a", "output": "b"}"#,
            "none of the known shapes (prompt + completion + label; prompt + chosen + rejected; messages + kto_tag; \
             prompt + completion; prompt + completions + scores; text; prompt_ids + completion_ids + label; prompt_ids + chosen_ids + rejected_ids); \
             its keys: instruction, output",
        ),
    ];
    for (number, (line, reason)) in cases.iter().enumerate() {
        let content = format!("{GOOD}\n\n{line}\n{BAD}\nworse\n");
        let said = complaint(&format!("wrong-{number}.jsonl"), content, &unpaired());
        assert_eq!(said, format!("FILE, line 3: {reason}"));
    }
}

#[test]
fn hostile_bytes_are_refused_by_line() {
    let line = |bytes: &[u8]| [GOOD.as_bytes(), b"\n", bytes, b"\n"].concat();
    let deep = format!(
        r#"{{"prompt": {}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let cases: [(&[u8], &str); 4] = [
        (b"{\"prompt\": \"\xff\"}", "not UTF-8 (byte 13 of the line)"),
        (
            b"{\"prompt\": \"a\0b\", \"completion\": \"c\", \"label\": true}",
            "not JSON: control character (\\u0000-\\u001F) found while parsing a string at column 14",
        ),
        (
            br#"{"prompt": "\ud800", "completion": "c"}"#,
            "not JSON: unexpected end of hex escape at column 19",
        ),
        (
            deep.as_bytes(),
            "not JSON: recursion limit exceeded at column 138",
        ),
    ];
    for (number, (bytes, reason)) in cases.iter().enumerate() {
        let said = complaint(&format!("hostile-{number}.jsonl"), line(bytes), &unpaired());
        assert_eq!(said, format!("FILE, line 2: {reason}"));
    }
    let huge = vec![b'x'; (64 << 20) + 2];
    assert_eq!(
        complaint("huge.jsonl", line(&huge), &unpaired()),
        "FILE, line 2: longer than 64 MiB"
    );
}

#[test]
fn a_file_cut_anywhere_is_loaded_to_a_line_or_refused_by_name() {
    let whole = format!("{GOOD}\n{BAD}\n");
    for end in 0..whole.len() {
        let path = file("cut.jsonl", &whole.as_bytes()[..end]);
        match load(&path, &unpaired()) {
            Ok(loaded) => assert_eq!(loaded.report.read, 2),
            Err(error) => assert!(
                error.is_data() && error.to_string().contains("cut.jsonl"),
                "{error}"
            ),
        }
    }
}

#[test]
fn files_that_hold_no_records_are_refused() {
    for (name, content) in [
        ("empty.jsonl", ""),
        ("blank.jsonl", "\n \r\n\t\n"),
        ("bom.jsonl", "\u{feff}"),
    ] {
        assert_eq!(
            complaint(name, content, &unpaired()),
            "FILE: no records: the file is empty"
        );
    }
    let cases: [(&str, &[u8], &str); 3] = [
        ("a.parquet", b"PAR1xx", "a Parquet file"),
        ("utf16.jsonl", b"\xff\xfe{\0", "UTF-16 text"),
        ("a.zst", b"\x28\xb5\x2f\xfd1", "a zstd archive"),
    ];
    for (name, content, kind) in cases {
        assert_eq!(
            complaint(name, content, &unpaired()),
            format!("FILE: this is {kind}; JSON Lines is needed: one object a line, in UTF-8")
        );
    }
    let missing = load(Path::new("no/such.jsonl"), &unpaired()).unwrap_err();
    assert!(
        missing.is_io() && missing.to_string().starts_with("no/such.jsonl: "),
        "{missing}"
    );
    let folder = load(Path::new(env!("CARGO_TARGET_TMPDIR")), &unpaired()).unwrap_err();
    assert!(folder.is_io(), "{folder}");
    let none: &[&Path] = &[];
    assert!(
        data::load(none, None, &unpaired())
            .unwrap_err()
            .is_parameter()
    );
}

#[test]
fn gzip_is_known_by_content_and_damage_is_named() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(format!("\u{feff}{GOOD}\r\n{BAD}").as_bytes())
        .unwrap();
    let bytes = gzip.finish().unwrap();
    let loaded = load(&file("plainly-named.jsonl", &bytes), &unpaired()).unwrap();
    assert_eq!(loaded.report.kept, 2);
    // Two members behind each other are one file, as gzip says.
    let twice = load(
        &file("twice.jsonl.gz", [bytes.as_slice(), &bytes].concat()),
        &unpaired(),
    );
    assert!(
        twice.unwrap_err().to_string().contains("line 2"),
        "the first member has no last line end"
    );
    for end in 10..bytes.len() {
        let said = complaint("cut.jsonl.gz", &bytes[..end], &unpaired());
        assert!(said.contains("gzip data is truncated or damaged"), "{said}");
    }
    // Plain text that is called .gz is read as what it is.
    assert!(
        load(
            &file("plain.jsonl.gz", format!("{GOOD}\n{BAD}")),
            &unpaired()
        )
        .is_ok()
    );
}

#[test]
fn every_shape_serves_the_losses_that_can_use_it() {
    let chat = r#"[{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}]"#;
    let lines = [
        (r#"{"prompt": "a", "completion": "b", "label": 1}"#.to_owned(), "+", None),
        (r#"{"prompt": "a", "completion": "b", "label": -1}"#.to_owned(), "-", None),
        (r#"{"prompt": "a", "completion": "b", "kto_tag": false}"#.to_owned(), "-", None),
        (format!(r#"{{"messages": {chat}, "kto_tag": true}}"#), "+", None),
        (
            r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": false}"#
                .to_owned(),
            "-",
            None,
        ),
        (r#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#.to_owned(), "+-", Some(1)),
        (format!(r#"{{"prompt": "q", "chosen": {chat}, "rejected": {}}}"#, chat.replace("good", "bad")), "+-", Some(1)),
        (r#"{"prompt_ids": [5, 6], "completion_ids": [7], "label": false}"#.to_owned(), "-", None),
        (r#"{"prompt_ids": [5], "chosen_ids": [7], "rejected_ids": [8], "extra": 1}"#.to_owned(), "+-", Some(1)),
    ];
    for (number, (line, labels, pairs)) in lines.iter().enumerate() {
        let path = file(&format!("shape-{number}.jsonl"), line);
        let options = DataOptions {
            allow_one_class: true,
            ..unpaired()
        };
        let loaded = load(&path, &options).unwrap();
        let signs: String = loaded
            .dataset
            .records
            .iter()
            .map(|record| {
                if record.label == Label::Desirable {
                    '+'
                } else {
                    '-'
                }
            })
            .collect();
        assert_eq!(signs, *labels, "{line}");
        match (load(&path, &DataOptions::new(DataShape::Paired)), pairs) {
            (Ok(loaded), Some(count)) => assert_eq!(loaded.dataset.units.len(), *count),
            (Err(error), None) => assert!(
                error.to_string().ends_with(
                    ", line 1: this loss compares two completions of one prompt: give `prompt`, `chosen`, `rejected`, or \
                     choose a loss for labelled completions (see halo losses)"
                ),
                "{error}"
            ),
            (outcome, _) => panic!("{line}: {outcome:?}"),
        }
    }
}

#[test]
fn demonstrations_need_no_label_and_leave_the_undesirable_out() {
    let lines = [
        r#"{"prompt": "a", "completion": " b"}"#,
        r#"{"text": "whole text"}"#,
        r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]}"#,
        r#"{"prompt": "a", "chosen": " c", "rejected": " d"}"#,
        BAD,
    ];
    let path = file("demonstrations.jsonl", lines.join("\n"));
    let loaded = load(&path, &DataOptions::new(DataShape::Any)).unwrap();
    assert_eq!(
        (
            loaded.report.kept,
            loaded.report.desirable,
            loaded.report.dropped_undesirable
        ),
        (4, 4, 2)
    );
    let whole = &loaded.dataset.records[1];
    let tokenizer = tokenizer();
    assert!(whole.prompt.is_empty());
    let mut expected = tokenizer.encode("whole text").unwrap();
    expected.extend(tokenizer.eos());
    assert_eq!(whole.completion, expected);
    assert_eq!(
        &*loaded.texts[2].prompt,
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(loaded.texts[2].completion, "r<|im_end|>\n");
}

#[test]
fn labels_of_one_class_only_are_refused_unless_wanted() {
    for (line, class) in [(GOOD, "desirable"), (BAD, "undesirable")] {
        let content = format!("{line}\n{line}\n");
        assert_eq!(
            complaint(&format!("all-{class}.jsonl"), &content, &unpaired()),
            format!("FILE: all 2 completions are {class}; this loss learns from both classes")
        );
        let options = DataOptions {
            allow_one_class: true,
            ..unpaired()
        };
        assert_eq!(
            load(&file(&format!("one-{class}.jsonl"), &content), &options)
                .unwrap()
                .report
                .kept,
            2
        );
    }
}

#[test]
fn zero_and_minus_one_in_one_data_set_are_ambiguous() {
    let line = |label: i32| format!(r#"{{"prompt": "a", "completion": "b", "label": {label}}}"#);
    let content = [line(1), line(0), line(-1)].join("\n");
    assert_eq!(
        complaint("ambiguous.jsonl", content, &unpaired()),
        "FILE, line 3: labels 0 (FILE, line 2) and -1 (FILE, line 3) in one data set: is 0 undesirable, or neutral?"
    );
}

#[test]
fn limits_cut_and_what_is_left_empty_is_dropped_and_counted() {
    let ids = |prompt: &str, completion: &str, label: bool| {
        format!(
            r#"{{"prompt_ids": [{prompt}], "completion_ids": [{completion}], "label": {label}}}"#
        )
    };
    let lines = [
        ids("5, 6", "7, 8, 9, 10", true),
        ids("5, 6, 7, 8", "9", false),
        ids("5, 6, 7", "9, 10", true),
        ids("5", "9", false),
        ids("5", "", false),
    ];
    let path = file("limits.jsonl", lines.join("\n"));
    let options = |limits| DataOptions {
        limits,
        ..unpaired()
    };
    let loaded = load(
        &path,
        &options(Limits {
            max_length: Some(4),
            ..Limits::default()
        }),
    )
    .unwrap();
    let lengths: Vec<_> = loaded
        .dataset
        .records
        .iter()
        .map(|r| (r.prompt.len(), r.completion.len()))
        .collect();
    assert_eq!(lengths, [(2, 2), (3, 1), (1, 1)]);
    let report = &loaded.report;
    assert_eq!((report.read, report.kept, report.truncated), (5, 3, 2));
    assert_eq!(
        (
            report.dropped_truncated,
            report.dropped_empty,
            report.longest
        ),
        (1, 1, 4)
    );

    let limits = Limits {
        max_prompt_length: Some(2),
        max_completion_length: Some(3),
        ..Limits::default()
    };
    let loaded = load(&path, &options(limits)).unwrap();
    assert_eq!(loaded.dataset.records[1].prompt, [7, 8]);
    assert_eq!(loaded.dataset.records[0].completion, [7, 8, 9]);
    assert_eq!(
        (loaded.report.truncated, loaded.report.truncated_prompts),
        (1, 2)
    );
    let start = Limits {
        keep_prompt: Keep::Start,
        ..limits
    };
    assert_eq!(
        load(&path, &options(start)).unwrap().dataset.records[1].prompt,
        [5, 6]
    );

    let name = path.display().to_string();
    let long = file("long.jsonl", lines[1..3].join("\n"));
    let error = load(
        &long,
        &options(Limits {
            max_length: Some(3),
            ..Limits::default()
        }),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: none of 2 records is left (2 dropped: nothing of the completion is left within the length limits)",
            name.replace("limits.jsonl", "long.jsonl")
        )
    );
    for (limits, said) in [
        (
            Limits {
                max_length: Some(1),
                ..Limits::default()
            },
            "max_length = 1 is less than 2",
        ),
        (
            Limits {
                max_prompt_length: Some(0),
                ..Limits::default()
            },
            "max_prompt_length = 0 is less than 1",
        ),
    ] {
        let error = load(&path, &options(limits)).unwrap_err();
        assert!(error.is_parameter());
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn a_pair_goes_as_a_whole() {
    let lines = [
        r#"{"prompt_ids": [5, 6], "chosen_ids": [7], "rejected_ids": []}"#,
        r#"{"prompt_ids": [5, 6], "chosen_ids": [7, 8, 9], "rejected_ids": [8]}"#,
        r#"{"prompt_ids": [5, 6], "chosen_ids": [8], "rejected_ids": [7, 8, 9]}"#,
        r#"{"prompt_ids": [5, 6], "chosen_ids": [8], "rejected_ids": [8]}"#,
    ];
    let limits = Limits {
        max_length: Some(4),
        ..Limits::default()
    };
    let options = DataOptions {
        limits,
        ..DataOptions::new(DataShape::Paired)
    };
    let loaded = load(&file("pairs.jsonl", lines.join("\n")), &options).unwrap();
    let report = &loaded.report;
    assert_eq!((report.read, report.kept, report.dropped_empty), (4, 3, 1));
    assert_eq!(
        (report.truncated, report.contradictions, report.ties),
        (2, 1, 1)
    );
    assert_eq!(
        loaded.dataset.units[1],
        Unit::Pair {
            chosen: 2,
            rejected: 3
        }
    );
}

#[test]
fn an_empty_completion_is_dropped_and_counted_whatever_surrounds_it() {
    let empty = [
        r#"{"prompt": "a", "completion": "", "label": false}"#,
        r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}], "kto_tag": false}"#,
    ];
    let content = [GOOD, BAD, empty[0], empty[1]].join("\n");
    let report = load(&file("silent.jsonl", content), &unpaired())
        .unwrap()
        .report;
    assert_eq!((report.kept, report.dropped_empty), (2, 2));
    assert_eq!(
        complaint("all-silent.jsonl", empty.join("\n"), &unpaired()),
        "FILE: none of 2 records is left (2 dropped: empty completion)"
    );
}

#[test]
fn one_completion_per_prompt_alternates_the_kept_label() {
    let mut lines = Vec::new();
    for prompt in ["a", "b", "c", "d"] {
        lines.push(format!(
            r#"{{"prompt": "{prompt}", "chosen": " x", "rejected": " y"}}"#
        ));
        lines.push(format!(
            r#"{{"prompt": "{prompt}", "chosen": " v", "rejected": " w"}}"#
        ));
    }
    lines.push(r#"{"prompt": "only", "completion": " z", "label": false}"#.to_owned());
    let options = DataOptions {
        one_y_per_x: true,
        ..unpaired()
    };
    let loaded = load(&file("one-y.jsonl", lines.join("\n")), &options).unwrap();
    let kept: Vec<_> = loaded
        .dataset
        .records
        .iter()
        .map(|record| record.label)
        .collect();
    use Label::{Desirable as D, Undesirable as U};
    assert_eq!(kept, [D, U, D, U, U]);
    assert_eq!(
        (loaded.report.dropped_siblings, loaded.report.prompts),
        (12, 5)
    );
}

#[test]
fn duplicates_and_contradictions_are_counted() {
    let same = BAD.replace(r#""c""#, r#""b""#);
    let content = [GOOD, BAD, GOOD, same.as_str()].join("\n");
    let report = load(&file("doubles.jsonl", content), &unpaired())
        .unwrap()
        .report;
    assert_eq!(
        (
            report.kept,
            report.duplicates,
            report.contradictions,
            report.prompts
        ),
        (4, 1, 1, 1)
    );
}

#[test]
fn tokens_outside_the_model_are_named() {
    let options = DataOptions {
        vocab_size: Some(10),
        ..unpaired()
    };
    let line = r#"{"prompt_ids": [1, 10], "completion_ids": [2], "label": true}"#;
    assert_eq!(
        complaint("outside.jsonl", line, &options),
        "FILE, line 1: token 10 is outside the model's vocabulary of 10"
    );
}

#[test]
fn token_ids_need_no_tokenizer_and_text_does() {
    let ids = [
        r#"{"prompt_ids": [1], "completion_ids": [2], "label": true}"#,
        r#"{"prompt_ids": [1], "completion_ids": [3], "label": false}"#,
    ];
    let path = file("ids.jsonl", ids.join("\n"));
    let loaded = data::load(&[path], None, &unpaired()).unwrap();
    assert_eq!(
        loaded.dataset.records[1].completion,
        [3],
        "no eos is added to token ids"
    );
    assert_eq!(loaded.dataset.records[0].id, "ids.jsonl:1");
    let error = data::load(&[file("text.jsonl", GOOD)], None, &unpaired()).unwrap_err();
    assert!(error.to_string().ends_with(
        "text.jsonl, line 1: the data is text, and there is no tokenizer; give token ids (prompt_ids, completion_ids)"
    ));
}

#[test]
fn order_is_the_files_however_many_threads_read() {
    let lines: Vec<String> = (0..5000)
        .map(|n| {
            format!(
                r#"{{"prompt": "p{}", "completion": "c{n}", "label": {}}}"#,
                n % 7,
                n % 6 == 0
            )
        })
        .collect();
    let half = lines.len() / 2;
    let (a, b) = (
        file("a.jsonl", lines[..half].join("\n")),
        file("b.jsonl", lines[half..].join("\n")),
    );
    let loaded = data::load(&[&a, &b], Some(&tokenizer()), &unpaired()).unwrap();
    for (n, text) in loaded.texts.iter().enumerate() {
        assert_eq!(text.completion, format!("c{n}"));
    }
    assert_eq!((loaded.report.prompts, loaded.report.desirable), (7, 834));
    assert_eq!(loaded.dataset.records[half].id, "b.jsonl:1");
    // The first wrong line is the one that is named, though a later one may be met first.
    let mut wrong = lines.clone();
    wrong[4000] = "x".into();
    wrong[3] = "y".into();
    let said = complaint("first.jsonl", wrong.join("\n"), &unpaired());
    assert_eq!(said, "FILE, line 4: each line must be a JSON object, not y");
}

#[test]
fn prompts_are_read_from_jsonl_and_from_plain_text() {
    let tokenizer = tokenizer();
    let jsonl = [
        r#"{"prompt": "a", "answer": 4}"#,
        r#"{"id": 9, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]}"#,
        r#"{"prompt_ids": [5, 6]}"#,
    ];
    let prompts = data::load_prompts(file("prompts.jsonl", jsonl.join("\n")), &tokenizer).unwrap();
    assert_eq!(prompts[0].id, "prompts.jsonl:1");
    assert_eq!(prompts[0].fields["answer"], 4);
    assert_eq!(
        (prompts[1].id.as_str(), prompts[2].tokens.as_slice()),
        ("9", [5, 6].as_slice())
    );
    assert_eq!(
        prompts[1].text,
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
    );
    let plain = data::load_prompts(file("prompts.txt", "one\r\n\n two {x}\n"), &tokenizer).unwrap();
    let texts: Vec<_> = plain.iter().map(|prompt| prompt.text.as_str()).collect();
    assert_eq!(texts, ["one", " two {x}"]);
    assert!(plain[0].fields.is_empty());
    let path = file(
        "bad-prompts.jsonl",
        "{\"prompt\": \"a\"}\n{\"completion\": \"a\"}\n",
    );
    let error = data::load_prompts(&path, &tokenizer).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}, line 2: `prompt` is missing", path.display())
    );
    let empty = data::load_prompts(file("no-prompts.txt", "\n"), &tokenizer).unwrap_err();
    assert!(empty.is_data() && empty.to_string().ends_with("no prompts: the file is empty"));
}

#[test]
fn a_folder_without_a_tokenizer_says_so() {
    let error = Tokenizer::load(env!("CARGO_MANIFEST_DIR")).unwrap_err();
    assert!(error.is_model());
    assert!(
        error.to_string().ends_with(
            ": tokenizer.json is missing; a model folder needs it unless the data holds token ids (prompt_ids, completion_ids)"
        ),
        "{error}"
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken-tokenizer");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("tokenizer.json"), "{\"version\": \"1.0\"").unwrap();
    let error = Tokenizer::load(&folder).unwrap_err();
    assert!(
        error.is_model() && error.to_string().contains("tokenizer.json: "),
        "{error}"
    );
}

#[test]
fn every_line_of_the_guide_is_read() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/data.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let blocks: Vec<&str> = guide
        .split("```jsonl\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let shapes = [
        DataShape::Unpaired,
        DataShape::Unpaired,
        DataShape::Paired,
        DataShape::Any,
        DataShape::Grouped,
        DataShape::Unpaired,
    ];
    for (number, (block, shape)) in blocks.iter().zip(shapes).enumerate() {
        let path = file(&format!("guide-{number}.jsonl"), block);
        let loaded = load(&path, &DataOptions::new(shape)).unwrap();
        assert_eq!(loaded.report.read, block.lines().count());
        assert!(loaded.report.kept >= loaded.report.read);
    }
    for line in blocks[6].lines() {
        let options = DataOptions {
            allow_one_class: true,
            ..unpaired()
        };
        assert!(data::load(&[file("guide-ids.jsonl", line)], None, &options).is_ok());
    }
    let prompts = data::load_prompts(file("guide-prompts.jsonl", blocks[7]), &tokenizer()).unwrap();
    assert_eq!((prompts.len(), blocks.len()), (2, 8));
}
