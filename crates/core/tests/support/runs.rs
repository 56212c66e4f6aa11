//! Whole runs on the fixtures, interrupted and not, and what they leave behind.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several test programs, each of which uses its part"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test's helper, outside the test functions that clippy knows"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use halo_core::config::TrainConfig;
use halo_core::session::Session;
use halo_train::Schedule;
use serde_json::Value;

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures")
}

/// A folder of this test's own, removed at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("halo-resume-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Shuffled, with everything that has a state: schedule, warm-up, decay and clipping.
pub fn base(loss: &str, out: PathBuf) -> TrainConfig {
    let trl = fixtures().join("trl");
    TrainConfig {
        model: fixtures().join("models/llama"),
        reference: Some(trl.join("reference-llama")),
        data: vec![trl.join(if loss == "dpo" {
            "dpo.jsonl"
        } else {
            "kto.jsonl"
        })],
        loss: loss.into(),
        per_device_train_batch_size: 4,
        learning_rate: 1e-3,
        lr_scheduler_type: Schedule::Cosine,
        warmup_steps: 2,
        weight_decay: 0.01,
        max_steps: Some(9),
        save_steps: 2,
        output_dir: out,
        ..TrainConfig::default()
    }
}

pub fn lora(config: TrainConfig) -> TrainConfig {
    TrainConfig {
        reference: None,
        lora_r: Some(4),
        lora_target_modules: Some(vec!["q_proj".into(), "v_proj".into(), "down_proj".into()]),
        ..config
    }
}

/// Runs until so many steps are done, or to the end; what an interruption leaves is what a drop leaves.
pub fn run(config: &TrainConfig, resume: bool, until: Option<u64>) {
    let mut session = Session::open(config.clone(), resume).unwrap();
    session.precompute(|_| ()).unwrap();
    while until.is_none_or(|until| session.completed_steps() < until) {
        if session.step().unwrap().is_none() {
            return;
        }
    }
}

pub fn lines(config: &TrainConfig) -> Vec<Value> {
    let text = fs::read_to_string(config.output_dir.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut json: Value = serde_json::from_str(line).unwrap();
            // The only number that may differ on the CPU.
            json.as_object_mut()
                .unwrap()
                .remove("step_seconds")
                .unwrap();
            json
        })
        .collect()
}

/// Every file of a finished run that its result depends on: weights, the last checkpoint, metrics, examples.
pub fn results(config: &TrainConfig) -> BTreeMap<String, Vec<u8>> {
    let out = &config.output_dir;
    let weights = match config.lora_r {
        Some(_) => "adapter_model.safetensors",
        None => "model.safetensors",
    };
    let checkpoint = format!("checkpoint-{}", config.max_steps.unwrap());
    let mut files: BTreeMap<String, Vec<u8>> = [
        weights.to_string(),
        format!("{checkpoint}/{weights}"),
        format!("{checkpoint}/optimizer.safetensors"),
    ]
    .into_iter()
    .chain(
        config
            .reference_sync
            .map(|_| format!("{checkpoint}/reference.safetensors")),
    )
    .map(|name| (name.clone(), fs::read(out.join(name)).unwrap()))
    .collect();
    let metrics = lines(config)
        .into_iter()
        .map(|mut line| {
            // On a GPU the most that this process ever had in use: a resumed run's process has seen less, or loaded twice.
            line.as_object_mut().unwrap().remove("device_memory_peak");
            line.to_string()
        })
        .collect::<Vec<_>>();
    assert_eq!(metrics.len() as u64, config.max_steps.unwrap());
    files.insert("metrics.jsonl".into(), metrics.join("\n").into_bytes());
    if config.record_examples {
        let examples = fs::read(out.join("examples.jsonl")).unwrap();
        files.insert("examples.jsonl".into(), examples);
    }
    files
}

pub fn same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>, what: &str) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in a {
        if *bytes == b[name] {
            continue;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if name.ends_with(".jsonl") {
            assert_eq!(text(bytes), text(&b[name]), "{what}: {name}");
        }
        panic!("{what}: {name} differs");
    }
}

/// Interrupts a run after every number of steps in turn, and once after every single step; each ends as if never interrupted.
pub fn resumes_bit_identically(test: &str, config: impl Fn(PathBuf) -> TrainConfig) {
    let scratch = Scratch::new(test);
    let whole = config(scratch.path("whole"));
    run(&whole, false, None);
    let expected = results(&whole);
    for step in 0..=whole.max_steps.unwrap() {
        let cut = config(scratch.path(&format!("cut-{step}")));
        run(&cut, false, Some(step));
        run(&cut, true, None);
        same(&results(&cut), &expected, &format!("interrupted at {step}"));
    }
    let often = TrainConfig {
        save_steps: 1,
        ..config(scratch.path("often"))
    };
    run(&often, false, Some(1));
    for step in 2..=whole.max_steps.unwrap() {
        run(&often, true, Some(step));
    }
    run(&often, true, None);
    same(&results(&often), &expected, "interrupted after every step");
}
