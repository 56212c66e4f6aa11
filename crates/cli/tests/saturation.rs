//! `halo saturation`: counts, grid and names from a run's examples, and what is no such file.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/binary.rs"]
mod binary;

use std::path::Path;

use binary::{Said, Scratch, Train, halo, say};
use serde_json::Value;

const KTO: &str = r#"{"format": "halo.examples", "version": 1, "loss": "kto", "params": {"beta": 0.1}, "engine": "test"}"#;

fn saturation(path: &Path, args: &str) -> Said {
    let mut command = halo("saturation");
    command.arg(path).args(args.split_whitespace());
    say(&mut command)
}

fn json(path: &Path, args: &str) -> Value {
    let said = saturation(path, &format!("{args} --json"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

fn line(id: &str, step: u64, label: bool, ratio: f64) -> String {
    let logp = -50.0 + ratio;
    format!(
        r#"{{"id": "{id}", "step": {step}, "label": {label}, "logp": {logp}, "ref_logp": -50, "tokens": 9, "z0": 0, "weight": 1, "group": 0}}"#
    )
}

/// At step 2 one desirable is learnt, one active, one given up, and one undesirable is given up.
fn examples() -> String {
    [
        KTO.to_owned(),
        line("far", 1, true, 0.0),
        line("good", 1, true, 0.0),
        line("far", 2, true, -100.0),
        line("good", 2, true, 100.0),
        line("new", 2, true, 1.0),
        line("bad", 2, false, 80.0),
    ]
    .join("\n")
}

#[test]
fn the_last_sight_of_each_example_counts() {
    let scratch = Scratch::new("saturation-last");
    let file = scratch.file("examples.jsonl", &examples());
    let found = json(&file, "--betas 0.001,0.1");
    assert_eq!(found["examples"], 4);
    let counts =
        |at: &Value| ["learnt", "active", "given_up"].map(|zone| at[zone].as_u64().unwrap());
    assert_eq!(counts(&found["own"]["counts"][0]), [1, 1, 1]);
    assert_eq!(counts(&found["own"]["counts"][1]), [0, 0, 1]);
    let furthest = found["furthest"].as_array().unwrap();
    assert_eq!(furthest.len(), 2);
    assert_eq!(furthest[0]["id"], "far");
    assert_eq!(furthest[0]["progress"], -100.0);
    assert_eq!(furthest[0]["zone"], "given_up");
    assert_eq!(furthest[1]["id"], "bad");
    assert_eq!(furthest[1]["label"], "undesirable");
    assert!(furthest[0]["slope_share"].as_f64().unwrap() < 0.01);
    // At a small β nothing has moved far.
    let cells = found["grid"].as_array().unwrap();
    let cell = |loss: &str, beta: f64| {
        let cell = cells
            .iter()
            .find(|cell| cell["loss"] == loss && cell["beta"] == beta);
        counts(&cell.unwrap()["counts"][0])
    };
    assert_eq!(cell("kto", 0.001), [0, 3, 0]);
    assert_eq!(cell("kto", 0.1), [1, 1, 1]);
    assert_eq!(cell("bco", 0.1), [1, 2, 0], "its loss never gives up");
    assert!(
        cells
            .iter()
            .all(|cell| cell["loss"] != "csft" || cell["beta"].is_null())
    );

    let early = json(&file, "--step 1");
    assert_eq!(
        (&early["examples"], &early["steps"][1]),
        (&2.into(), &1.into())
    );
    let folder = saturation(&scratch.path(""), "--losses kto --top 1");
    for part in [
        "4 examples under kto",
        "desirable: 1 learnt, 1 active, 1 given up",
        "33.3 / 33.3 / 33.3",
        "likely label errors or hard cases\n  far (desirable): progress -100.00 nats, log-ratio -100.00, z0 0.00, given up",
    ] {
        assert!(folder.stdout.contains(part), "{part}\n{}", folder.stdout);
    }
    assert!(!folder.stdout.contains("  bad ("), "{}", folder.stdout);
}

#[test]
fn pairs_stand_as_pairs() {
    let scratch = Scratch::new("saturation-pairs");
    let header = r#"{"format": "halo.examples", "version": 1, "loss": "hinge", "params": {}, "engine": "test"}"#;
    let header = match halo_loss::find("hinge") {
        Ok(_) => header.to_owned(),
        Err(_) => header.replace("hinge", "dpo"),
    };
    let lines = [
        header.clone(),
        line("a/chosen", 1, true, 3.0),
        line("a/rejected", 1, false, 5.0),
        line("b/chosen", 1, true, 100.0),
        line("b/rejected", 1, false, 0.0),
    ];
    let found = json(&scratch.file("pairs.jsonl", &lines.join("\n")), "");
    assert_eq!(found["pairs"], true);
    assert_eq!(found["own"]["counts"][0]["learnt"], 1);
    assert_eq!(found["furthest"][0]["rejected"], "a/rejected");
    assert_eq!(found["furthest"][0]["progress"], -2.0);
    assert_eq!(found["furthest"].as_array().unwrap().len(), 1);

    let said = saturation(&scratch.file("half.jsonl", &lines[..4].join("\n")), "");
    assert_eq!(said.code, Some(3));
    assert!(
        said.stderr
            .contains("line 4: the last pair has no rejected completion"),
        "{}",
        said.stderr
    );
    let wrong = [&lines[0], &lines[2], &lines[1]]
        .map(String::as_str)
        .join("\n");
    let said = saturation(&scratch.file("order.jsonl", &wrong), "");
    assert!(
        said.stderr
            .contains("line 2: a rejected completion without a chosen one"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_real_run_is_read() {
    let train = Train::new("saturation-run").args("--steps 3 --record-examples --set beta=0.5");
    let said = say(&mut train.command());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let found = json(&train.out, "");
    assert_eq!(found["loss"], "kto");
    assert_eq!(found["params"]["beta"], 0.5);
    assert!(found["examples"].as_u64().unwrap() > 0);
    assert!(found["grid"].as_array().unwrap().len() > 6);
}

#[test]
fn what_is_no_recording_is_refused_by_line() {
    let scratch = Scratch::new("saturation-bad");
    let good = line("a", 1, true, 0.0);
    let cases = [
        ("", "the file is empty"),
        (KTO, "no examples"),
        (good.as_str(), "line 1: not the header of examples"),
        ("[]", "line 1: not the header of examples"),
        (
            &KTO.replace("halo.examples", "halo.metrics"),
            "line 1: format \"halo.metrics\", version 1; known: \"halo.examples\", version 1",
        ),
        (
            &KTO.replace("\"version\": 1", "\"version\": 2"),
            "version 2; known",
        ),
        (&KTO.replace("\"kto\"", "\"ktoo\""), "line 1: "),
        (&KTO.replace("0.1", "-1"), "line 1: "),
        (
            &format!("{KTO}\n{good}\n{{\"id\": \"b\""),
            "line 3: not JSON",
        ),
        (
            &format!("{KTO}\n{}", good.replace("\"logp\"", "\"lopg\"")),
            "line 2: missing field `logp`",
        ),
        (
            &format!("{KTO}\n{}", good.replace("-50,", "NaN,")),
            "line 2: not JSON",
        ),
        (
            &format!("{KTO}\n{}", good.replace("\"tokens\": 9", "\"tokens\": 0")),
            "line 2: tokens = 0; allowed: 1 or more",
        ),
        (
            &format!("{KTO}\n{}", good.replace("\"weight\": 1", "\"weight\": -1")),
            "line 2: weight = -1; allowed: 0 or more",
        ),
        (
            &format!("{KTO}\n{}", good.replace("\"label\": true", "\"label\": 3")),
            "line 2: invalid type",
        ),
    ];
    for (text, expected) in cases {
        let said = saturation(&scratch.file("bad.jsonl", text), "");
        assert_eq!(said.code, Some(3), "{text}: {}", said.stderr);
        assert!(
            said.stderr.contains(expected),
            "{expected}: {}",
            said.stderr
        );
    }
    let file = scratch.file("good.jsonl", &examples());
    for (args, expected) in [
        ("--losses nothing", "nothing"),
        (
            "--losses dpo",
            "cannot be computed here: it reads data of shape",
        ),
        ("--betas 0", "betas: 0; allowed: above 0"),
        ("--betas NaN", "betas: NaN; allowed: above 0"),
        ("--betas 1e9", "beta"),
    ] {
        let said = saturation(&file, args);
        assert_eq!(said.code, Some(2), "{args}: {}", said.stderr);
        assert!(said.stderr.contains(expected), "{}", said.stderr);
    }
    let said = saturation(&file, "--step 0");
    assert!(
        said.stderr.contains("no examples up to step 0"),
        "{}",
        said.stderr
    );
    let empty = scratch.path("folder");
    std::fs::create_dir(&empty).unwrap();
    let said = saturation(&empty, "");
    assert_eq!(said.code, Some(3));
    assert!(said.stderr.contains("--record-examples"), "{}", said.stderr);
}
