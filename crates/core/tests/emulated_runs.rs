//! Every kind of run that the CPU has, on the emulated GPU: the metrics of its first steps are the CPU's.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::PathBuf;

use halo_core::config::TrainConfig;
use halo_train::{ReferenceSync, SyncMoment};
use runs::{Scratch, base, fixtures, lines, lora, run};

#[path = "support/runs.rs"]
mod runs;

/// A run of two steps, by its name.
fn kinds(out: impl Fn(&str) -> PathBuf) -> Vec<(&'static str, TrainConfig)> {
    let of = |name: &'static str, change: &dyn Fn(TrainConfig) -> TrainConfig, loss: &str| {
        let config = TrainConfig {
            max_steps: Some(2),
            save_steps: 1,
            ..base(loss, out(name))
        };
        (name, change(config))
    };
    let family = |config: TrainConfig, name: &str| TrainConfig {
        model: fixtures().join("models").join(name),
        reference: None,
        ..config
    };
    let set = |mut config: TrainConfig, key: &str, value: &str| {
        config.loss_parameters.set(key, value);
        config
    };
    vec![
        of("biases", &|c| family(c, "qwen2"), "kto"),
        of("norms of heads", &|c| family(c, "qwen3"), "dpo"),
        of("windows", &|c| family(c, "mistral"), "kto"),
        of("LoRA", &lora, "dpo"),
        of(
            "recomputed blocks",
            &|c| TrainConfig {
                gradient_checkpointing: true,
                ..c
            },
            "kto",
        ),
        of(
            "a cached reference",
            &|c| TrainConfig {
                precompute_ref_log_probs: true,
                ..c
            },
            "kto",
        ),
        of(
            "a reference that follows",
            &|c| TrainConfig {
                reference: None,
                reference_sync: Some(ReferenceSync {
                    mix: 0.5,
                    every: 1,
                    moment: SyncMoment::After,
                }),
                ..c
            },
            "dpo",
        ),
        of("tokens", &|c| set(c, "ld_alpha", "0.5"), "dpo"),
        of("collisions", &|c| set(c, "wpo", "exact"), "dpo"),
        of(
            "a reward head",
            &|c| TrainConfig {
                reference: None,
                loss: "bradley_terry".into(),
                ..c
            },
            "dpo",
        ),
    ]
}

#[test]
fn every_kind_of_run_is_the_cpu_s() {
    let scratch = Scratch::new("emulated");
    let cpu = kinds(|name| scratch.path(&format!("cpu {name}")));
    let gpu = kinds(|name| scratch.path(&format!("gpu {name}")));
    for ((name, expected), (_, found)) in cpu.into_iter().zip(gpu) {
        let found = TrainConfig {
            device: "emulated".into(),
            ..found
        };
        run(&expected, false, None);
        run(&found, false, None);
        let (expected, found) = (lines(&expected), lines(&found));
        assert_eq!(expected.len(), 2, "{name}");
        let mut worst = 0f64;
        for (x, y) in expected.iter().zip(&found) {
            for (key, x) in x.as_object().unwrap() {
                let Some(x) = x.as_f64() else { continue };
                let y = y[key].as_f64().unwrap();
                worst = worst.max((x - y).abs() / x.abs().max(1.0));
            }
        }
        println!("{name}: {worst:.1e}");
        assert!(worst < 1e-4, "{name}: {worst}");
    }
}
