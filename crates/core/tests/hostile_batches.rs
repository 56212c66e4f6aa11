//! Every loss trains the demo's model on the batches that break losses: one class only, one row, completions of one token, equal
//! log-probabilities, log-probabilities of −10⁴. Nothing becomes NaN.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use std::fs;
use std::path::{Path, PathBuf};

use every::{Scratch, config, lines, testdata, train, trainable};
use halo_core::models::{Training, load};
use halo_loss::{DataShape, ParamValue, Params};
use halo_train::{Order, Pack, Sequence};
use serde_json::Value;

#[path = "support/every.rs"]
mod every;

fn demo() -> PathBuf {
    testdata().join("demo/model")
}

/// Two desirable completions, two undesirable, and so on: batches of two in file order hold one class. Every second is one token.
fn data(scratch: &Scratch, shape: DataShape) -> PathBuf {
    let ids = |from: u32, count: u32| -> Vec<u32> {
        (from..from + count).map(|id| 5 + id % 140).collect()
    };
    let mut all: Vec<Value> = (0..4)
        .flat_map(|at| {
            let length = if at % 2 == 0 { 1 } else { 12 };
            lines(
                shape,
                &ids(31 * at, 3),
                &ids(17 * at + 9, length),
                &ids(23 * at + 4, 13 - length),
            )
        })
        .collect();
    if shape == DataShape::Unpaired {
        // by class, in twos
        let of = |all: &[Value], label: bool| -> Vec<Value> {
            all.iter()
                .filter(|line| line["label"] == label)
                .cloned()
                .collect()
        };
        let (yes, no) = (of(&all, true), of(&all, false));
        all = yes
            .chunks(2)
            .zip(no.chunks(2))
            .flat_map(|(yes, no)| [yes, no].concat())
            .collect();
    }
    scratch.file(&format!("{shape:?}.jsonl"), &all)
}

/// The demo's model with logits so far apart that improbable completions have log-probabilities of about −10⁴.
fn extreme(scratch: &Scratch) -> PathBuf {
    let folder = scratch.0.join("extreme");
    fs::create_dir_all(&folder).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(demo().join(file), folder.join(file)).unwrap();
    }
    let cpu = candle_core::Device::Cpu;
    let mut tensors =
        candle_core::safetensors::load(demo().join("model.safetensors"), &cpu).unwrap();
    // The norm before the head: tied embeddings would bring the scale to the model's input, too.
    let name = "model.norm.weight";
    let norm = tensors[name].to_dtype(candle_core::DType::F32).unwrap();
    tensors.insert(name.into(), (norm * 100.0).unwrap());
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    folder
}

/// The least log-probability of the pairs' completions.
fn least(model: &Path, data: &Path) -> f64 {
    let model = load(model, &Training::Frozen, 0).unwrap();
    let text = fs::read_to_string(data).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids = |value: &Value| -> Vec<u32> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect()
    };
    let parts: Vec<[Vec<u32>; 2]> = lines
        .iter()
        .flat_map(|line| {
            ["chosen_ids", "rejected_ids"].map(|key| [ids(&line["prompt_ids"]), ids(&line[key])])
        })
        .collect();
    let sequences: Vec<Sequence> = parts
        .iter()
        .map(|[prompt, completion]| Sequence {
            prompt,
            completion,
            grad: false,
        })
        .collect();
    let pack = Pack::build(&sequences, true);
    let logps = model.decoder.forward(&pack, false).unwrap().0;
    pack.sum_logps(&logps).into_iter().fold(0.0, f64::min)
}

/// Every trainable loss on the hostile data, in micro-batches of this size.
fn every_loss_survives(
    test: &str,
    size: usize,
    models: impl Fn(&Scratch) -> (PathBuf, Option<PathBuf>),
) {
    let scratch = Scratch::new(test);
    let (model, reference) = models(&scratch);
    let mut broken = Vec::new();
    for spec in trainable() {
        let data = data(&scratch, spec.shape);
        let mut config = config(
            spec.name,
            &Params::new(),
            &model,
            &data,
            &scratch.0.join("run"),
        );
        config.order = Order::File;
        config.reference = reference.clone();
        config.per_device_train_batch_size = size;
        config.gradient_accumulation_steps = 1;
        // Every one that breaks, not only the first.
        if std::panic::catch_unwind(|| train(&config).unwrap()).is_err() {
            broken.push(spec.name);
            let _ = fs::remove_dir_all(&config.output_dir);
        }
    }
    assert_eq!(broken, [""; 0], "{test}");
}

/// What bends log-ratios with exponentials, and what reads them token by token.
const BENT: [(&str, &str); 6] = [
    ("f_divergence", "forward_kl"),
    ("f_divergence", "alpha"),
    ("f_divergence", "js"),
    ("wpo", "exact"),
    ("humanline", "true"),
    ("kl_beta", "0.1"),
];

#[test]
fn logps_of_minus_ten_thousand_under_modifiers() {
    let scratch = Scratch::new("bent");
    let extreme = extreme(&scratch);
    let mut broken = Vec::new();
    for (model, reference) in [(&extreme, demo()), (&demo(), extreme.clone())] {
        for spec in trainable() {
            for (key, value) in BENT {
                if spec.param(key).is_err() {
                    continue;
                }
                let data = data(&scratch, spec.shape);
                let mut params = Params::new();
                params.set(key, ParamValue::parse(value));
                let mut config = config(spec.name, &params, model, &data, &scratch.0.join("run"));
                config.order = Order::File;
                config.reference = Some(reference.clone());
                config.max_steps = Some(1);
                config.gradient_accumulation_steps = 1;
                if std::panic::catch_unwind(|| train(&config).unwrap()).is_err() {
                    broken.push(format!("{} {key} = {value}", spec.name));
                    let _ = fs::remove_dir_all(&config.output_dir);
                }
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

#[test]
fn steps_of_one_class_short_completions_and_equal_logps() {
    every_loss_survives("class", 2, |_| (demo(), None));
}

#[test]
fn steps_of_one_row() {
    every_loss_survives("row", 1, |_| (demo(), None));
}

#[test]
fn logps_of_minus_ten_thousand_in_the_policy() {
    let scratch = Scratch::new("least");
    let least = least(&extreme(&scratch), &data(&scratch, DataShape::Paired));
    println!("the least log-probability is {least:.0}");
    assert!(least < -1e4, "{least}");
    every_loss_survives("policy", 2, |scratch| (extreme(scratch), Some(demo())));
}

#[test]
fn logps_of_minus_ten_thousand_in_the_reference() {
    every_loss_survives("reference", 2, |scratch| (demo(), Some(extreme(scratch))));
}

#[test]
fn logps_of_minus_ten_thousand_in_both() {
    every_loss_survives("both", 2, |scratch| (extreme(scratch), None));
}
