//! Against TRL 1.16: twenty optimizer steps of KTO, DPO and two dozen other losses and modifiers, all weights and adapters, policy and reference
//! unequal from the start.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and the errors reached are worth reading"
)]

use std::path::{Path, PathBuf};

use halo_core::config::TrainConfig;
use halo_core::session::Session;
use halo_core::weights::Weights;
use halo_train::{Mismatch, Order, Schedule};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures/trl")
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The run that `case.json` describes.
fn config(name: &str, out: &Path) -> TrainConfig {
    let folder = root().join(name);
    let case = read(&folder.join("case.json"));
    let optimiser = &case["optimiser"];
    let mut config = TrainConfig {
        data: vec![root().join(format!("{}.jsonl", case["data"].as_str().unwrap()))],
        loss: case["loss"]["name"].as_str().unwrap().into(),
        order: Order::File,
        mismatch: Mismatch::Trl,
        max_steps: case["steps"].as_u64(),
        lr_scheduler_type: Schedule::Constant,
        learning_rate: optimiser["learning_rate"].as_f64().unwrap(),
        weight_decay: optimiser["weight_decay"].as_f64().unwrap(),
        max_grad_norm: optimiser["max_grad_norm"].as_f64().unwrap(),
        per_device_train_batch_size: optimiser["per_device_train_batch_size"].as_u64().unwrap()
            as usize,
        gradient_accumulation_steps: optimiser["gradient_accumulation_steps"].as_u64().unwrap()
            as usize,
        output_dir: out.join(name),
        ..TrainConfig::default()
    };
    for (key, value) in case["loss"].as_object().unwrap() {
        match value {
            Value::Number(number) => config.loss_parameters.set(key, number.as_f64().unwrap()),
            Value::Bool(flag) => config.loss_parameters.set(key, *flag),
            Value::String(word) if key != "name" => config.loss_parameters.set(key, word.as_str()),
            _ => continue,
        };
    }
    if let Some(sync) = case.get("reference_sync") {
        config.reference_sync = Some(serde_json::from_value(sync.clone()).unwrap());
    }
    config.model = folder.join(case["policy"].as_str().unwrap());
    if let Some(modules) = case.get("lora").and_then(Value::as_array) {
        config.model = folder.join("adapter");
        let adapter = read(&config.model.join("adapter_config.json"));
        config.lora_r = adapter["r"].as_u64().map(|r| r as usize);
        config.lora_alpha = adapter["lora_alpha"].as_f64();
        config.lora_target_modules =
            Some(modules.iter().map(|m| m.as_str().unwrap().into()).collect());
    }
    config.reference = match case["reference"].as_str().unwrap() {
        "model" => Some(folder.join(case["reference_folder"].as_str().unwrap())),
        "base" => Some(folder.join(case["policy"].as_str().unwrap())),
        "snapshot" | "none" => None,
        other => panic!("{other}"),
    };
    config
}

/// TRL's name, and how far ours may be: relative, and absolute for what passes through zero.
const METRICS: [(&str, f64); 9] = [
    ("loss", 1e-4),
    ("kl", 1e-4),
    ("rewards/chosen", 1e-4),
    ("rewards/rejected", 1e-4),
    ("rewards/margins", 1e-4),
    ("logps/chosen", 1e-4),
    ("logps/rejected", 1e-4),
    ("grad_norm", 1e-4),
    ("learning_rate", 1e-12),
];

fn follows_trl(name: &str) {
    let out = std::env::temp_dir().join(format!("halo-parity-{}", std::process::id()));
    let config = config(name, &out);
    let lora = config.lora_r.is_some();
    let text = std::fs::read_to_string(root().join(name).join("metrics.jsonl")).unwrap();
    let mut session = Session::open(config.clone(), false).unwrap();
    let (mut worst, mut raised) = (0f64, 0);
    for line in text.lines() {
        let theirs: Value = serde_json::from_str(line).unwrap();
        let ours = serde_json::to_value(session.step().unwrap().unwrap()).unwrap();
        raised += usize::from(theirs["kl"].as_f64().is_some_and(|kl| kl > 0.0));
        for (key, tolerance) in METRICS {
            let Some(expected) = theirs[key].as_f64() else {
                continue;
            };
            // TRL averages micro-batch means of a class; ours are means over the step: equal only without accumulation, or where
            // every micro-batch has as many of each class.
            let found = ours[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: no {key} in {ours}"));
            let error = (found - expected).abs() / expected.abs().max(1.0);
            worst = worst.max(error);
            assert!(
                error < tolerance,
                "{name}, step {}: {key} = {found}, TRL has {expected}",
                theirs["step"]
            );
        }
    }
    assert!(session.step().unwrap().is_none(), "{name}: the run is over");
    assert!(
        !name.starts_with("kto") || raised > 0,
        "{name}: the reference point was above zero in some step"
    );

    let file = if lora {
        "adapter_model.safetensors"
    } else {
        "model.safetensors"
    };
    let ours = Weights::from_files([config.output_dir.join(file)]).unwrap();
    let theirs = Weights::from_files([root().join(name).join("final.safetensors")]).unwrap();
    let mut weights = 0f32;
    for tensor in theirs.names() {
        let shape = theirs.shape(tensor).unwrap();
        let expected = theirs.read(tensor, shape).unwrap();
        let found = ours.read(tensor, shape).unwrap();
        let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
        for (a, b) in found.iter().zip(&expected) {
            weights = weights.max((a - b).abs() / scale);
        }
    }
    println!(
        "{name}: metrics within {worst:.1e}, final weights within {weights:.1e} of the largest entry"
    );
    assert!(weights < 1e-4, "{name}: {weights:e}");
    std::fs::remove_dir_all(&config.output_dir).unwrap();
}

/// Every case that the folder holds, a third of them a test so that they run side by side.
fn follow_every(third: usize) {
    let folders = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = folders
        .filter(|path| path.join("case.json").is_file())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 34, "{names:?}");
    names
        .iter()
        .skip(third)
        .step_by(3)
        .for_each(|name| follows_trl(name));
}

#[test]
fn every_first_case_follows_trl() {
    follow_every(0);
}

#[test]
fn every_second_case_follows_trl() {
    follow_every(1);
}

#[test]
fn every_third_case_follows_trl() {
    follow_every(2);
}
