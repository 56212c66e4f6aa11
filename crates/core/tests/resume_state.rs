//! Runs that carry more than weights and f32 moments from step to step: moments of one byte, a reference that moves, a reference
//! point that remembers, parameters that change. Interrupted anywhere, each ends bit-identically.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use halo_core::config::TrainConfig;
use halo_core::session::Session;
use halo_core::weights::Weights;
use halo_train::{ReferenceSync, SyncMoment};
use runs::{Scratch, base, lora, resumes_bit_identically, run};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

#[path = "support/runs.rs"]
mod runs;

/// The starting policy as reference, which then follows by halves.
fn moving(loss: &str, moment: SyncMoment, every: u64, out: PathBuf) -> TrainConfig {
    TrainConfig {
        reference: None,
        reference_sync: Some(ReferenceSync {
            mix: 0.5,
            every,
            moment,
        }),
        max_steps: Some(7),
        ..base(loss, out)
    }
}

fn point(name: &str, out: PathBuf) -> TrainConfig {
    let mut config = TrainConfig {
        max_steps: Some(7),
        ..base("kto", out)
    };
    config.loss_parameters.set("reference_point", name);
    config
}

#[test]
fn a_reference_that_follows_resumes_bit_identically() {
    // Steps 3 and 6: once at a checkpoint (2, 4, 6) and once between two.
    resumes_bit_identically("sync-after", |out| moving("dpo", SyncMoment::After, 3, out));
    resumes_bit_identically("sync-before", |out| {
        moving("kto", SyncMoment::Before, 2, out)
    });
}

#[test]
fn an_adapters_snapshot_that_follows_resumes_bit_identically() {
    resumes_bit_identically("sync-lora", |out| {
        lora(moving("dpo", SyncMoment::After, 2, out))
    });
    resumes_bit_identically("sync-lora-before", |out| {
        lora(moving("kto", SyncMoment::Before, 1, out))
    });
}

#[test]
fn a_reference_that_follows_with_accumulation_resumes_bit_identically() {
    resumes_bit_identically("sync-parts", |out| TrainConfig {
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        ..moving("dpo", SyncMoment::Before, 2, out)
    });
}

#[test]
fn a_reference_point_that_remembers_resumes_bit_identically() {
    for name in ["running_mean", "ema", "ring_buffer"] {
        resumes_bit_identically(&format!("point-{name}"), |out| point(name, out));
    }
    resumes_bit_identically("point-lora", |out| lora(point("running_mean", out)));
}

#[test]
fn parameters_on_their_way_resume_bit_identically() {
    resumes_bit_identically("ramp", |out| TrainConfig {
        loss_schedule: BTreeMap::from([("beta".into(), "0.5:cosine".parse().unwrap())]),
        ..point("running_mean", out)
    });
}

fn eight_bit(config: TrainConfig) -> TrainConfig {
    TrainConfig {
        optim: "adamw_8bit".into(),
        max_steps: Some(7),
        ..config
    }
}

#[test]
fn eight_bit_moments_resume_bit_identically() {
    resumes_bit_identically("8bit", |out| eight_bit(base("kto", out)));
    resumes_bit_identically("8bit-lora", |out| eight_bit(lora(base("dpo", out))));
}

#[test]
fn a_checkpoint_holds_a_byte_for_each_8_bit_moment_of_a_matrix() {
    let scratch = Scratch::new("bytes");
    let config = eight_bit(base("kto", scratch.path("run")));
    run(&config, false, Some(5));
    let file = config.output_dir.join("checkpoint-4/optimizer.safetensors");
    let bytes = fs::read(&file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    for (name, info) in header.tensors() {
        let matrix = info.shape.len() > 1;
        assert_eq!(info.dtype == Dtype::U8, matrix, "{name}");
        let size = if matrix { 1 } else { 4 };
        assert_eq!(info.data_offsets.0 % size, 0, "{name}");
        if let Some(of) = name.strip_prefix("exp_avg_max.") {
            let numbers: usize = header
                .info(&format!("exp_avg.{of}"))
                .unwrap()
                .shape
                .iter()
                .product();
            assert_eq!(info.shape, [numbers.div_ceil(256)], "{name}");
        }
    }
    // Codes that are none: signed bytes, in a header of the same length.
    let text =
        String::from_utf8_lossy(&bytes[8..8 + header_length(&bytes)]).replace("\"U8\"", "\"I8\"");
    let damaged = [&bytes[..8], text.as_bytes(), &bytes[8 + text.len()..]].concat();
    fs::write(&file, damaged).unwrap();
    let error = Session::open(config.clone(), true).err().unwrap();
    let message = error.to_string();
    assert!(
        message.contains("checkpoint-4/optimizer.safetensors: exp_avg.")
            && message.ends_with(": dtype I8, but the codes of 8-bit moments are U8"),
        "{message}"
    );
    fs::write(&file, bytes).unwrap();
    run(&config, true, None);
}

fn header_length(bytes: &[u8]) -> usize {
    u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize
}

/// The policy's saved tensors beside the reference's, in a checkpoint.
fn both(config: &TrainConfig, step: u64) -> Vec<(String, Vec<f32>, Vec<f32>)> {
    let folder = config.output_dir.join(format!("checkpoint-{step}"));
    let policy = match config.lora_r {
        Some(_) => "adapter_model.safetensors",
        None => "model.safetensors",
    };
    let [policy, reference] = [policy, "reference.safetensors"]
        .map(|file| Weights::from_files([folder.join(file)]).unwrap());
    let read =
        |weights: &Weights, name: &str| weights.read(name, policy.shape(name).unwrap()).unwrap();
    let names = policy.names().map(str::to_string);
    names
        .map(|name| (name.clone(), read(&policy, &name), read(&reference, &name)))
        .collect()
}

#[test]
fn a_checkpoint_holds_the_reference_where_it_moves() {
    for adapters in [false, true] {
        let scratch = Scratch::new(&format!("holds-{adapters}"));
        let with = |name: &str, mix: f64| {
            let config = moving("dpo", SyncMoment::After, 2, scratch.path(name));
            let config = match adapters {
                true => lora(config),
                false => config,
            };
            TrainConfig {
                reference_sync: config
                    .reference_sync
                    .map(|sync| ReferenceSync { mix, ..sync }),
                max_steps: Some(3),
                save_steps: 1,
                save_total_limit: 3,
                ..config
            }
        };
        let (half, whole) = (with("half", 0.5), with("whole", 1.0));
        run(&half, false, None);
        run(&whole, false, None);
        // Step 1 leaves it, step 2 takes it all the way or half of it, step 3 leaves it there.
        for (name, policy, reference) in both(&whole, 2) {
            assert_eq!(policy, reference, "{name}");
        }
        let (first, second, third) = (both(&half, 1), both(&half, 2), both(&half, 3));
        assert!(first.iter().zip(&second).any(|(one, two)| one.2 != two.2));
        for ((one, two), three) in first.iter().zip(&second).zip(&third) {
            let expected: Vec<f32> = two
                .1
                .iter()
                .zip(&one.2)
                .map(|(ours, theirs)| (0.5 * f64::from(*ours) + 0.5 * f64::from(*theirs)) as f32)
                .collect();
            assert_eq!(two.2, expected, "{}", two.0);
            assert_eq!(three.2, two.2, "{}", two.0);
        }
    }
    let scratch = Scratch::new("holds-none");
    let still = base("dpo", scratch.path("still"));
    run(&still, false, Some(2));
    run(&still, true, Some(3));
    let file = still.output_dir.join("checkpoint-2/reference.safetensors");
    assert!(!file.exists() && file.parent().unwrap().exists());
}

#[test]
fn a_checkpoint_without_its_reference_is_refused() {
    let scratch = Scratch::new("lost");
    let config = moving("dpo", SyncMoment::After, 2, scratch.path("run"));
    run(&config, false, Some(5));
    let file = config.output_dir.join("checkpoint-4/reference.safetensors");
    fs::remove_file(file).unwrap();
    let error = Session::open(config, true).err().unwrap();
    assert!(
        error.to_string().contains("reference.safetensors"),
        "{error}"
    );
}

#[test]
fn what_a_reference_point_remembers_is_in_the_checkpoint() {
    let scratch = Scratch::new("memory");
    let config = point("running_mean", scratch.path("run"));
    run(&config, false, Some(3));
    let text = fs::read_to_string(config.output_dir.join("checkpoint-2/halo.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let memory = json["machine"]["memory"].as_array().unwrap();
    assert!(
        !memory.is_empty() && memory.iter().all(Value::is_number),
        "{memory:?}"
    );
}

#[test]
fn a_cache_is_refused_where_the_run_reads_tokens_sooner_or_later() {
    let scratch = Scratch::new("tokens");
    let cached = TrainConfig {
        precompute_ref_log_probs: true,
        ..base("dpo", scratch.path("run"))
    };
    let mut now = cached.clone();
    now.loss_parameters.set("ld_alpha", 0.5);
    let later = TrainConfig {
        loss_schedule: BTreeMap::from([("ld_alpha".into(), "0.5".parse().unwrap())]),
        ..cached
    };
    for config in [now, later] {
        let error = Session::open(config, false).err().unwrap();
        assert!(error.is_parameter());
        let message = "keep one sum a completion, but dpo reads its tokens one by one";
        assert!(error.to_string().ends_with(message), "{error}");
    }
}
