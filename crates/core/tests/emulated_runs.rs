//! Every kind of run that the CPU has, on the emulated GPU: the metrics of its first steps are the CPU's. And what 8-bit moments
//! promise there: memory, and resuming.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::PathBuf;

use halo_core::config::TrainConfig;
use halo_core::weights::Weights;
use halo_train::{ReferenceSync, SyncMoment};
use runs::{Scratch, base, fixtures, lines, lora, results, run, same};

#[path = "support/runs.rs"]
mod runs;

/// Long enough that steps begin with moments that were rounded.
fn eight_bit(config: TrainConfig) -> TrainConfig {
    TrainConfig {
        max_steps: Some(6),
        optim: "adamw_8bit".into(),
        ..config
    }
}

/// A run of a few steps, by its name.
fn kinds(out: impl Fn(&str) -> PathBuf) -> Vec<(&'static str, TrainConfig)> {
    let of = |name: &'static str, change: &dyn Fn(TrainConfig) -> TrainConfig, loss: &str| {
        let config = TrainConfig {
            max_steps: Some(2),
            save_steps: 1,
            // A first step that is taken: the second one's metrics are those of what it made.
            warmup_steps: 0,
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
        of("8-bit moments", &eight_bit, "kto"),
        of("8-bit moments of adapters", &|c| lora(eight_bit(c)), "dpo"),
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
        assert!(
            expected.len() > 1 && found.len() == expected.len(),
            "{name}"
        );
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

#[test]
fn eight_bit_moments_resume_bit_identically() {
    let scratch = Scratch::new("emulated-8bit");
    for (name, dtype, adapters) in [
        ("f32", "f32", false),
        ("bf16", "bf16", false),
        ("lora", "bf16", true),
    ] {
        let config = |part: &str| {
            let config = TrainConfig {
                device: "emulated".into(),
                dtype: dtype.into(),
                max_steps: Some(4),
                save_steps: 2,
                ..eight_bit(base("kto", scratch.path(&format!("{name} {part}"))))
            };
            if adapters { lora(config) } else { config }
        };
        let (whole, cut) = (config("whole"), config("cut"));
        run(&whole, false, None);
        run(&cut, false, Some(3));
        run(&cut, true, None);
        same(&results(&cut), &results(&whole), name);
    }
}

#[test]
fn eight_bit_moments_take_two_bytes_and_a_scale_for_256_where_f32_takes_eight() {
    let scratch = Scratch::new("emulated-memory");
    let peak = |optim: &str| {
        let config = TrainConfig {
            device: "emulated".into(),
            optim: optim.into(),
            max_steps: Some(1),
            ..base("kto", scratch.path(optim))
        };
        run(&config, false, None);
        let peak = lines(&config)[0]["device_memory_peak"].as_u64().unwrap();
        (peak as usize, config.output_dir.join("model.safetensors"))
    };
    let ((wide, _), (narrow, file)) = (peak("adamw"), peak("adamw_8bit"));
    let weights = Weights::from_files([file]).unwrap();
    let matrices = weights.names().filter_map(|name| {
        let shape = weights.shape(name).unwrap();
        (shape.len() > 1).then(|| shape.iter().product::<usize>())
    });
    let less: usize = matrices
        .map(|n| 8 * n - (2 * n + 8 * n.div_ceil(256)))
        .sum();
    // The two tables of 256 f32 stand once.
    assert_eq!(wide - narrow, less - 2 * 256 * 4);
}
