//! How the program speaks: settings from flags or a file alike, silence when asked for, JSON for programs.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;

use serde_json::Value;

#[path = "support/binary.rs"]
mod binary;
use binary::{Train, fixture, halo, metrics, say};

#[test]
fn a_configuration_file_and_flags_say_the_same() {
    let train = Train::new("toml").args(
        "--quiet --steps 6 --batch-size 4 --grad-accum 2 --lr 1e-3 --schedule cosine --warmup 2 --weight-decay 0.1 \
         --max-grad-norm 0.5 --seed 7 --lora 4 --lora-alpha 4 --lora-target-modules q_proj,v_proj --lora-layers 1 \
         --set beta=0.2 --set value=kahneman_tversky --save-every 3 --max-length 18 --class-balance 1.2",
    );
    assert_eq!(say(&mut train.command()).code, Some(0));
    let text = format!(
        r#"model = {:?}
data = [{:?}]
output_dir = {:?}
max_steps = 6
per_device_train_batch_size = 4
gradient_accumulation_steps = 2
learning_rate = 1e-3
lr_scheduler_type = "cosine"
warmup_steps = 2
weight_decay = 0.1
max_grad_norm = 0.5
seed = 7
lora_r = 4
lora_alpha = 4.0
lora_target_modules = ["q_proj", "v_proj"]
lora_layers = [1]
save_steps = 3
max_length = 18
class_balance = 1.2
[loss_parameters]
beta = 0.2
value = "kahneman_tversky"
"#,
        train.model,
        train.data,
        train.scratch.path("from-toml")
    );
    let from_file = |text: &str, more: &[&str]| {
        let file = train.scratch.file("given.toml", text);
        let said = say(halo("train --quiet --config").arg(file).args(more));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    };
    from_file(&text, &[]);
    // The file that the first run wrote of itself gives it once more; a flag overrides it.
    let own = fs::read_to_string(train.out.join("run.toml")).unwrap();
    let third = train.scratch.path("from-itself").display().to_string();
    from_file(&own, &["--out", &third]);
    for other in ["from-toml", "from-itself"] {
        let other = train.scratch.path(other);
        assert_eq!(metrics(&other), metrics(&train.out));
        let [a, b] = [&train.out, &other]
            .map(|run| fs::read(run.join("adapter_model.safetensors")).unwrap());
        assert!(a == b);
    }
    assert_eq!(metrics(&train.out).len(), 6);
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let train = Train::new("quiet").args("--quiet --steps 2 --precompute-ref-log-probs");
    let said = say(&mut train.command());
    assert_eq!(
        (said.code, said.stdout, said.stderr),
        (Some(0), String::new(), String::new())
    );
    let said = say(&mut train.command());
    assert_eq!(said.code, Some(6));
    assert_eq!(said.stderr.lines().count(), 1);
}

#[test]
fn json_prints_the_lines_of_the_metrics() {
    let train =
        Train::new("json").args("--json --steps 3 --batch-size 4 --precompute-ref-log-probs");
    let said = say(&mut train.command());
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        said.stdout,
        fs::read_to_string(train.out.join("metrics.jsonl")).unwrap()
    );
    assert_eq!(said.stdout.lines().count(), 3);
    for line in said.stdout.lines() {
        let json: Value = serde_json::from_str(line).unwrap();
        for key in [
            "step",
            "epoch",
            "loss",
            "kl",
            "kl_raw",
            "kl_clamped",
            "rewards/chosen",
            "rewards/rejected",
            "rewards/margins",
            "logps/chosen",
            "logps/rejected",
            "learnt",
            "active",
            "given_up",
            "clipped",
            "inside",
            "grad_norm",
            "learning_rate",
            "tokens",
            "completion_tokens",
            "step_seconds",
        ] {
            assert!(json.get(key).is_some(), "{key}: {line}");
        }
        assert_eq!(json.as_object().unwrap().len(), 21);
    }
}

#[test]
fn json_errors_carry_argument_and_code() {
    let train = Train::new("json-error").args("--json --set beta=-1");
    let said = say(&mut train.command());
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    let json: Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!(json["error"], "kto: beta = -1 is outside 1e-6..=100000");
    assert_eq!(json["argument"], "beta");
    assert_eq!(json["exit_code"], 2);
}

#[test]
fn losses_and_completions_in_json_can_be_parsed() {
    let said = say(&mut halo("losses --json"));
    let list: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), halo_loss::registry().len());
    let said = say(&mut halo("losses kto --json"));
    let spec: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(spec["name"], "kto");
    let mut generate = halo("generate --json --max-new-tokens 5 --samples 3 --prompt t3 --model");
    let said = say(generate.arg(fixture("models/llama")));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert_eq!(said.stdout.lines().count(), 3);
    for line in said.stdout.lines() {
        let json: Value = serde_json::from_str(line).unwrap();
        assert!(json["logp"].as_f64().unwrap() < 0.0);
    }
}
