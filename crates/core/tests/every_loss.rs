//! Every loss of the registry trains end to end by its name: all weights and adapters, each modifier, sums of losses.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use std::path::{Path, PathBuf};

use every::{Scratch, config, lines, tensors, testdata, train, trainable};
use halo_core::session::Session;
use halo_loss::{DataShape, Loss, Need, ParamValue, Params};
use halo_train::Rng;
use serde_json::Value;

#[path = "support/every.rs"]
mod every;

fn model() -> PathBuf {
    testdata().join("fixtures/models/llama")
}

/// Six prompts with two answers each, of 1 to 7 tokens.
fn data(scratch: &Scratch, shape: DataShape) -> PathBuf {
    let mut rng = Rng::new(3);
    let mut ids = |least: u64| -> Vec<u32> {
        let count = least + rng.below(7);
        (0..count).map(|_| 3 + rng.below(90) as u32).collect()
    };
    let all: Vec<Value> = (0..6)
        .flat_map(|_| lines(shape, &ids(1), &ids(2), &ids(1)))
        .collect();
    scratch.file(&format!("{shape:?}.jsonl"), &all)
}

/// The tensors that stand as they stood.
fn unmoved(before: &[(String, Vec<f32>)], after: &[(String, Vec<f32>)]) -> Vec<String> {
    let same = |(name, values): &&(String, Vec<f32>)| {
        let start = before.iter().find(|(other, _)| other == name);
        start.is_some_and(|(_, start)| start == values)
    };
    after
        .iter()
        .filter(same)
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn every_loss_trains_all_weights_by_its_name() {
    let scratch = Scratch::new("full");
    let start = tensors(&model(), false);
    let mut count = 0;
    for spec in trainable() {
        let data = data(&scratch, spec.shape);
        let out = scratch.0.join("run");
        let end = train(&config(spec.name, &Params::new(), &model(), &data, &out))
            .unwrap_or_else(|e| panic!("{}: {e}", spec.name));
        assert_eq!(unmoved(&start, &end), [""; 0], "{}", spec.name);
        count += 1;
    }
    println!("{count} losses");
    assert!(count >= 35);
}

#[test]
fn every_loss_trains_adapters_by_its_name() {
    let scratch = Scratch::new("lora");
    for spec in trainable() {
        let data = data(&scratch, spec.shape);
        let mut config = config(
            spec.name,
            &Params::new(),
            &model(),
            &data,
            &scratch.0.join("run"),
        );
        config.lora_r = Some(2);
        let end = train(&config).unwrap_or_else(|e| panic!("{}: {e}", spec.name));
        // B begins as zeros.
        let still: Vec<&String> = end
            .iter()
            .filter(|(_, values)| values.iter().all(|x| *x == 0.0))
            .map(|(name, _)| name)
            .collect();
        assert!(
            !end.is_empty() && still.is_empty(),
            "{}: {still:?}",
            spec.name
        );
    }
}

/// What a modifier is tried with.
fn values(modifier: &str) -> Vec<ParamValue> {
    match modifier {
        "f_divergence" => ["js", "forward_kl", "alpha"].map(ParamValue::from).into(),
        "wpo" => ["plain", "exact"].map(ParamValue::from).into(),
        "length_average" | "humanline" => vec![true.into()],
        "label_smoothing" => vec![0.1.into()],
        "nll_weight" | "ld_alpha" => vec![0.5.into()],
        other => panic!("{other} is new: say here what to try it with"),
    }
}

#[test]
fn every_loss_trains_with_each_of_its_modifiers() {
    let scratch = Scratch::new("modifiers");
    let (mut trained, mut refused) = (0, Vec::new());
    for spec in trainable() {
        let data = data(&scratch, spec.shape);
        for modifier in spec.modifiers {
            for value in values(modifier.name) {
                let mut params = Params::new();
                params.set(modifier.name, value.clone());
                let mut config =
                    config(spec.name, &params, &model(), &data, &scratch.0.join("run"));
                config.max_steps = Some(1);
                match train(&config) {
                    Ok(_) => trained += 1,
                    Err(error) => {
                        let what = format!("{} {} = {value}: {error}", spec.name, modifier.name);
                        assert!(error.is_parameter(), "{what}");
                        refused.push(what);
                    }
                }
            }
        }
    }
    println!("{trained} trained, {} refused: {refused:#?}", refused.len());
    assert!(trained > 100 && refused.len() < trained / 20);
}

fn sums_train(names: &[&str], lora_r: Option<usize>) {
    let scratch = Scratch::new(&format!("sums-{lora_r:?}"));
    for name in names {
        let shape = Loss::new(name, &Params::new()).unwrap().data_shape();
        let data = data(&scratch, shape);
        let mut config = config(
            name,
            &Params::new(),
            &model(),
            &data,
            &scratch.0.join("run"),
        );
        config.lora_r = lora_r;
        train(&config).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn sums_of_losses_train() {
    let names = [
        "dpo + 0.5*sft",
        "kto + 0.1*sft",
        "aot + 0.5*sft",
        "0.8*dpo + 0.2*bco_pair + sft",
        "grpo + 0.1*sft",
    ];
    sums_train(&names, None);
    sums_train(&names, Some(2));
}

#[test]
fn what_reads_denoising_errors_is_refused() {
    let scratch = Scratch::new("errors");
    let refused = |spec: &&&halo_loss::Spec| spec.needs.contains(&Need::Errors);
    for spec in halo_loss::registry().iter().filter(refused) {
        let data = data(&scratch, spec.shape);
        let config = config(
            spec.name,
            &Params::new(),
            &model(),
            &data,
            Path::new(&scratch.0.join("run")),
        );
        let error = Session::open(config, false).err().unwrap();
        assert!(error.is_parameter(), "{error}");
        let expected = format!(
            "{} reads denoising errors of a diffusion model: evaluate it through the library, there is nothing to train here",
            spec.name
        );
        assert_eq!(error.to_string(), expected);
        assert!(!scratch.0.join("run").exists());
    }
}
