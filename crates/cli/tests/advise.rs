//! `halo advise`: what it finds in data, what it proposes, and that the proposal is a run.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/binary.rs"]
mod binary;

use std::path::{Path, PathBuf};

use binary::{Said, Scratch, fixture, halo, say};
use halo_core::config::TrainConfig;
use halo_loss::Loss;
use serde_json::Value;

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/demo")
        .join(name)
}

fn advise(data: &Path, args: &str) -> Said {
    let mut command = halo("advise");
    command.arg(data).args(args.split_whitespace());
    say(&mut command)
}

fn json(said: &Said) -> Value {
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

/// The proposed run, as `halo train` reads it.
fn run(said: &Value) -> TrainConfig {
    let config: TrainConfig = toml::from_str(said["run"].as_str().unwrap()).unwrap();
    Loss::new(&config.loss, &config.loss_parameters).unwrap();
    config
}

#[test]
fn thumbs_up_and_down_ask_for_kto_with_weights() {
    let said = advise(&demo("feedback.jsonl"), "--json");
    let report = json(&said);
    let config = run(&report);
    assert_eq!(config.loss, "kto");
    let (good, bad) = (674.0, 2926.0);
    let weight = |key: &str| match config.loss_parameters.get(key) {
        Some(halo_loss::ParamValue::Number(weight)) => *weight,
        other => panic!("{key}: {other:?}"),
    };
    let balance = weight("desirable_weight") * good / (weight("undesirable_weight") * bad);
    assert!((balance - 1.0).abs() < 1e-9, "{balance}");
    assert_eq!(config.data, [demo("feedback.jsonl")]);
    let traits = report["report"]["advice"]["traits"].to_string();
    assert!(
        traits.contains("binary") && traits.contains("imbalanced"),
        "{traits}"
    );
    assert_eq!(report["counted_in"], "words");
    assert_eq!(report["report"]["contents"]["labelled"], 3600);

    let text = advise(&demo("feedback.jsonl"), "").stdout;
    for part in [
        "3,600 lines: 3,600 completions with a label",
        "binary: 3600 of 3600 rows are judged for themselves",
        "<- proposed",
        "for (",
        "no tokenizer: lengths are in words",
        "loss = \"kto\"",
        "# The model to train is not known here",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_model_counts_tokens_and_says_where_the_examples_start() {
    let scratch = Scratch::new("advise-model");
    let out = scratch.path("run.toml");
    let args = format!(
        "--json --model {} --sample 40 --max-length 18 --out {}",
        demo("model").display(),
        out.display()
    );
    let report = json(&advise(&demo("feedback.jsonl"), &args));
    assert_eq!(report["counted_in"], "tokens");
    let start = &report["start"];
    let measured = start["measured"].as_u64().unwrap();
    assert!((40..=80).contains(&measured), "{measured}");
    assert_eq!(start["log_ratios"], Value::Null);
    assert!(start["logps"][0]["median"].as_f64().unwrap() < 0.0);
    assert!(start["bounds"]["learnt"].as_f64().unwrap() > 0.0);
    assert!(start["bounds"]["given_up"].as_f64().unwrap() < 0.0);
    let contents = &report["report"]["contents"];
    let truncated = report["report"]["diagnosis"]["counts"]["truncated"].as_u64();
    assert!(truncated.unwrap() + contents["lost"].as_u64().unwrap() > 0);
    let config: TrainConfig = toml::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    config.check().unwrap();
    assert_eq!((config.loss.as_str(), config.max_length), ("kto", 18));

    let args = format!(
        "--json --sample 20 --model {0} --reference {0}",
        demo("model").display()
    );
    let report = json(&advise(&demo("feedback.jsonl"), &args));
    assert_eq!(report["start"]["log_ratios"][1]["most"], 0.0);
    let zones = &report["start"]["zones"];
    assert_eq!(zones[0]["learnt"], 0);
    assert_eq!(zones[1]["given_up"], 0);
    let text = advise(&demo("feedback.jsonl"), &args.replace("--json", "")).stdout;
    assert!(text.contains("counts as learnt"), "{text}");
    assert!(text.contains("desirable completions can gain"), "{text}");
}

#[test]
fn every_kind_of_data_is_named_and_gets_a_run_that_reads_it() {
    let scratch = Scratch::new("advise-kinds");
    let kinds = [
        (
            "pairs",
            r#"{"prompt": "a b", "chosen": "c d", "rejected": "e f g"}"#,
            "1 pairs",
        ),
        (
            "scores",
            r#"{"prompt": "a b", "completions": ["c", "d e"], "scores": [1, -1]}"#,
            "2 completions with a score",
        ),
        (
            "demonstrations",
            r#"{"prompt": "a b", "completion": "c d"}"#,
            "1 completions without any judgement",
        ),
        (
            "ids",
            r#"{"prompt_ids": [5], "completion_ids": [6, 7], "label": true}"#,
            "1 completions with a label",
        ),
        (
            "mixed",
            "{\"prompt\": \"a\", \"completion\": \"c d\"}\n{\"prompt\": \"a\", \"chosen\": \"c\", \"rejected\": \"d\"}",
            "1 pairs, 1 completions without any judgement",
        ),
    ];
    for (name, lines, what) in kinds {
        let data = scratch.file(&format!("{name}.jsonl"), lines);
        let text = advise(&data, "");
        assert_eq!(text.code, Some(0), "{name}: {}", text.stderr);
        assert!(text.stdout.contains(what), "{name}: {}", text.stdout);
        let config = run(&json(&advise(&data, "--json")));
        let loss = Loss::new(&config.loss, &config.loss_parameters).unwrap();
        let options = halo_core::data::DataOptions {
            score_threshold: config.score_threshold,
            allow_one_class: true,
            ..halo_core::data::DataOptions::new(loss.data_shape())
        };
        if name == "ids" {
            halo_core::data::load(&[&data], None, &options).unwrap();
        }
        println!("{name}: {}", config.loss);
    }
}

#[test]
fn what_cannot_be_read_or_meant_is_refused() {
    let scratch = Scratch::new("advise-bad");
    let broken = scratch.file("broken.jsonl", "{\"prompt\": \"a\"}\n");
    let said = advise(&broken, "");
    assert_eq!(said.code, Some(3));
    assert!(
        said.stderr
            .contains("broken.jsonl, line 1: `completion` is missing"),
        "{}",
        said.stderr
    );
    assert_eq!(advise(&scratch.path("none.jsonl"), "").code, Some(5));
    assert_eq!(advise(&demo("feedback.jsonl"), "--noise 2").code, Some(2));
    let reward = format!("--model {}", fixture("reward").display());
    assert_eq!(advise(&demo("feedback.jsonl"), &reward).code, Some(4));
}
