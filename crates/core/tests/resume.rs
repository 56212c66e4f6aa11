//! A run's numbers do not depend on how it was cut: not by micro-batches, not by interruptions, not by a cache.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use std::fs;
use std::path::PathBuf;

use halo_core::config::TrainConfig;
use halo_core::session::Session;
use halo_core::weights::Weights;
use runs::{Scratch, base, fixtures, lines, lora, results, resumes_bit_identically, run, same};

#[path = "support/runs.rs"]
mod runs;

#[test]
fn kto_resumes_bit_identically() {
    resumes_bit_identically("kto", |out| base("kto", out));
}

#[test]
fn kto_with_adapters_resumes_bit_identically() {
    resumes_bit_identically("lora", |out| lora(base("kto", out)));
}

#[test]
fn dpo_with_accumulation_resumes_bit_identically() {
    resumes_bit_identically("dpo", |out| TrainConfig {
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        reference: None,
        ..base("dpo", out)
    });
}

#[test]
fn sft_resumes_bit_identically() {
    resumes_bit_identically("sft", |out| base("sft", out));
}

#[test]
fn kto_over_epochs_with_a_precomputed_reference_resumes_bit_identically() {
    // 80 examples, 32 a step: an epoch ends within the run, with a smaller step.
    resumes_bit_identically("cache", |out| TrainConfig {
        per_device_train_batch_size: 16,
        gradient_accumulation_steps: 2,
        precompute_ref_log_probs: true,
        max_steps: Some(5),
        ..base("kto", out)
    });
}

#[test]
fn kto_with_a_cache_that_fills_as_it_goes_resumes_bit_identically() {
    resumes_bit_identically("filling", |out| TrainConfig {
        per_device_train_batch_size: 20,
        reference_cache: Some(out.join("seen.cache")),
        max_steps: Some(6),
        ..base("kto", out)
    });
}

#[test]
fn records_of_examples_resume_bit_identically() {
    resumes_bit_identically("examples", |out| TrainConfig {
        record_examples: true,
        max_steps: Some(5),
        ..base("kto", out)
    });
}

#[test]
fn a_line_that_was_cut_off_in_writing_is_written_again() {
    let scratch = Scratch::new("cut-line");
    let config = |name: &str| TrainConfig {
        record_examples: true,
        max_steps: Some(5),
        ..base("kto", scratch.path(name))
    };
    let whole = config("whole");
    run(&whole, false, None);
    let cut = config("cut");
    run(&cut, false, Some(3));
    for file in ["metrics.jsonl", "examples.jsonl"] {
        let path = cut.output_dir.join(file);
        let mut bytes = fs::read(&path).unwrap();
        // Within a line, and within a letter of more than one byte.
        bytes.truncate(bytes.len() - 9);
        bytes.extend(&"é".as_bytes()[..1]);
        fs::write(&path, bytes).unwrap();
    }
    run(&cut, true, None);
    same(&results(&cut), &results(&whole), "cut line");
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let scratch = Scratch::new("finished");
    let config = base("kto", scratch.path("run"));
    run(&config, false, None);
    let before = results(&config);
    run(&config, true, None);
    same(&results(&config), &before, "resumed when done");
}

#[test]
fn a_new_run_does_not_overwrite_one_that_is_there() {
    let scratch = Scratch::new("claimed");
    let config = base("kto", scratch.path("run"));
    run(&config, false, Some(2));
    let error = Session::open(config.clone(), false).err().unwrap();
    assert!(error.is_state());
    assert!(error.to_string().contains("holds a run already"), "{error}");
    let nothing = base("kto", scratch.path("nothing"));
    let error = Session::open(nothing, true).err().unwrap();
    assert!(
        error.to_string().contains("holds no run to resume"),
        "{error}"
    );
    assert!(!scratch.path("nothing").exists());
}

#[test]
fn resuming_with_other_settings_names_every_key_that_changed() {
    let scratch = Scratch::new("changed");
    let config = base("kto", scratch.path("run"));
    run(&config, false, Some(5));
    let mut changed = TrainConfig {
        learning_rate: 0.5,
        optim: "adamw_8bit".into(),
        seed: 7,
        reference: None,
        ..config.clone()
    };
    changed.loss_parameters.set("beta", 0.3);
    let before = fs::read(config.output_dir.join("run.toml")).unwrap();
    let error = Session::open(changed, true).err().unwrap();
    assert!(error.is_state());
    let message = error.to_string();
    for part in [
        "checkpoint-4 was made with another configuration: ",
        "learning_rate = 0.001, now 0.5",
        "optim = \"adamw\", now \"adamw_8bit\"",
        "seed = 42, now 7",
        "reference = \"",
        "reference-llama\", now unset",
        "loss_parameters = {}, now {\"beta\":0.3}",
        "resume with the same, or start a new run in another folder",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // The refusal left the run as it was: it still goes on.
    assert_eq!(
        fs::read(config.output_dir.join("run.toml")).unwrap(),
        before
    );
    run(&config, true, None);
}

#[test]
fn how_often_a_run_saves_may_change_when_it_resumes() {
    let scratch = Scratch::new("free");
    let whole = base("kto", scratch.path("whole"));
    run(&whole, false, None);
    let cut = base("kto", scratch.path("cut"));
    run(&cut, false, Some(5));
    let other = TrainConfig {
        save_steps: 3,
        save_total_limit: 1,
        ..cut
    };
    run(&other, true, None);
    same(&results(&other), &results(&whole), "other rhythm");
    let left: Vec<_> = fs::read_dir(&other.output_dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("checkpoint-"))
        .collect();
    assert_eq!(left, ["checkpoint-9"]);
}

#[test]
fn a_checkpoint_from_before_a_setting_existed_has_its_default() {
    let scratch = Scratch::new("older");
    let whole = base("kto", scratch.path("whole"));
    run(&whole, false, None);
    let cut = base("kto", scratch.path("cut"));
    run(&cut, false, Some(5));
    let state = cut.output_dir.join("checkpoint-4/halo.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    let removed = json["config"].as_object_mut().unwrap().remove("optim");
    assert_eq!(removed, Some("adamw".into()));
    fs::write(&state, json.to_string()).unwrap();
    run(&cut, true, None);
    same(&results(&cut), &results(&whole), "older");
}

#[test]
fn other_data_under_the_same_name_is_noticed() {
    let scratch = Scratch::new("data");
    let mut config = base("kto", scratch.path("run"));
    let data = scratch.path("data.jsonl");
    fs::create_dir_all(&scratch.0).unwrap();
    fs::copy(&config.data[0], &data).unwrap();
    config.data = vec![data.clone()];
    run(&config, false, Some(3));
    let text = fs::read_to_string(&data).unwrap();
    fs::write(&data, text.replacen("\"label\":false", "\"label\":true", 1)).unwrap();
    let error = Session::open(config, true).err().unwrap();
    assert!(error.is_state());
    assert_eq!(
        error.to_string(),
        "the data is not the data of the saved run"
    );
}

/// Largest difference of two runs' final weights, relative to each tensor's largest entry.
fn apart(a: &TrainConfig, b: &TrainConfig) -> f32 {
    let file = match a.lora_r {
        Some(_) => "adapter_model.safetensors",
        None => "model.safetensors",
    };
    let [a, b] = [a, b].map(|c| Weights::from_files([c.output_dir.join(file)]).unwrap());
    let mut worst = 0f32;
    for name in a.names() {
        let shape = a.shape(name).unwrap();
        let (a, b) = (a.read(name, shape).unwrap(), b.read(name, shape).unwrap());
        let scale = a.iter().fold(1e-30f32, |max, x| max.max(x.abs()));
        let difference = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
        worst = worst.max(difference.fold(0.0, f32::max) / scale);
    }
    worst
}

fn micro_batches_make_no_difference(test: &str, config: impl Fn(PathBuf) -> TrainConfig) {
    let scratch = Scratch::new(test);
    let cut = |size: usize, count: usize| TrainConfig {
        per_device_train_batch_size: size,
        gradient_accumulation_steps: count,
        // 80 units, 12 a step: every epoch ends with a step of 8, whose last micro-batches are smaller or absent.
        max_steps: Some(8),
        // Far from zero: AdamW's first steps would turn the rounding of a vanishing gradient into a whole step.
        adam_epsilon: 1e-4,
        ..config(scratch.path(&format!("{size}x{count}")))
    };
    let whole = cut(12, 1);
    run(&whole, false, None);
    let (mut weights, mut metrics) = (0f32, 0f64);
    for (size, count) in [(6, 2), (4, 3), (3, 4), (1, 12)] {
        let parts = cut(size, count);
        run(&parts, false, None);
        let (ours, theirs) = (lines(&parts), lines(&whole));
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for (key, theirs) in theirs.as_object().unwrap() {
                let (Some(a), Some(b)) = (ours[key].as_f64(), theirs.as_f64()) else {
                    assert_eq!(&ours[key], theirs, "{size}×{count}: {key}");
                    continue;
                };
                // `tokens` counts rows computed: prompts are shared within a micro-batch only.
                if key != "tokens" {
                    let error = (a - b).abs() / b.abs().max(1.0);
                    metrics = metrics.max(error);
                    assert!(error < 1e-5, "{size}×{count}: {key}: {a} {b}");
                }
            }
        }
        let error = apart(&parts, &whole);
        weights = weights.max(error);
        assert!(error < 1e-5, "{size}×{count}: weights {error:e} apart");
    }
    println!("{test}: metrics within {metrics:.1e}, weights within {weights:.1e}");
}

#[test]
fn k_micro_batches_are_one_batch_of_k_fold_size_for_kto() {
    micro_batches_make_no_difference("accumulate-kto", |out| base("kto", out));
}

#[test]
fn k_micro_batches_are_one_batch_of_k_fold_size_for_adapters() {
    micro_batches_make_no_difference("accumulate-lora", |out| lora(base("kto", out)));
}

#[test]
fn k_micro_batches_are_one_batch_of_k_fold_size_for_dpo_and_sft() {
    for loss in ["dpo", "sft"] {
        micro_batches_make_no_difference(&format!("accumulate-{loss}"), |out| base(loss, out));
    }
}

#[test]
fn a_precomputed_reference_gives_the_bits_of_a_live_one() {
    for loss in ["kto", "dpo"] {
        let scratch = Scratch::new(&format!("precomputed-{loss}"));
        // Twice over the data: in the second epoch every pair of x and y meets other neighbours.
        let config = |name: &str, precompute: bool| TrainConfig {
            per_device_train_batch_size: 16,
            precompute_ref_log_probs: precompute,
            max_steps: Some(10),
            ..base(loss, scratch.path(name))
        };
        let (live, cached) = (config("live", false), config("cached", true));
        run(&live, false, None);
        run(&cached, false, None);
        assert!(cached.output_dir.join("reference.cache").is_file());
        same(&results(&cached), &results(&live), loss);
    }
}

#[test]
fn a_cache_of_another_reference_is_refused() {
    let scratch = Scratch::new("stale");
    let config = |name: &str, reference: Option<PathBuf>| TrainConfig {
        reference,
        reference_cache: Some(scratch.path("shared.cache")),
        max_steps: Some(2),
        ..base("kto", scratch.path(name))
    };
    let first = config("first", Some(fixtures().join("trl/reference-llama")));
    run(&first, false, None);
    let error = Session::open(config("second", None), false).err().unwrap();
    assert!(error.is_state());
    let message = error.to_string();
    assert!(
        message.contains("shared.cache: stale: it was made with reference "),
        "{message}"
    );
    assert!(
        message.ends_with("delete it, or give another --reference-cache"),
        "{message}"
    );
    // The same reference under another run may use it.
    run(&config("third", first.reference.clone()), false, None);
}

#[test]
fn a_damaged_cache_is_refused_and_left() {
    let scratch = Scratch::new("damaged");
    let config = |name: &str| TrainConfig {
        reference_cache: Some(scratch.path("shared.cache")),
        max_steps: Some(1),
        ..base("kto", scratch.path(name))
    };
    run(&config("first"), false, None);
    let bytes = fs::read(scratch.path("shared.cache")).unwrap();
    for (damage, message) in [
        (
            &bytes[..bytes.len() - 5],
            "truncated; delete it to compute it again",
        ),
        (
            b"{}\n".as_slice(),
            "not a reference cache; delete it to compute it again",
        ),
        (
            b"".as_slice(),
            "not a reference cache; delete it to compute it again",
        ),
    ] {
        fs::write(scratch.path("shared.cache"), damage).unwrap();
        let error = Session::open(config("second"), false).err().unwrap();
        assert!(error.is_state());
        assert!(error.to_string().ends_with(message), "{error}");
        assert_eq!(fs::read(scratch.path("shared.cache")).unwrap(), damage);
        assert!(!scratch.path("second").exists());
    }
}
