//! Whatever is wrong with what the program is given, it says so in one line, ends with the code that `halo --help` promises,
//! and leaves nothing behind.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "support/binary.rs"]
mod binary;
use binary::{Said, Scratch, Train, fixture, halo, metrics, say};

const ARGUMENT: i32 = 2;
const DATA: i32 = 3;
const MODEL: i32 = 4;
const FILE: i32 = 5;
const STATE: i32 = 6;

fn weights(model: &Path) -> PathBuf {
    model.join("model.safetensors")
}

fn edit_config(model: &Path, key: &str, value: Value) {
    let path = model.join("config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json[key] = value;
    fs::write(path, json.to_string()).unwrap();
}

// Model folders.

#[test]
fn missing_weights() {
    Train::new("missing-weights")
        .model(|model| fs::remove_file(weights(model)).unwrap())
        .says(
            MODEL,
            "$/model: neither model.safetensors nor model.safetensors.index.json is there",
        );
}

#[test]
fn truncated_weights() {
    let whole = fs::read(weights(&fixture("models/llama"))).unwrap();
    for (length, problem) in [
        (0, "0 bytes are too few for safetensors"),
        (7, "7 bytes are too few for safetensors"),
        (
            100,
            "not safetensors, or truncated: the header would take 2096 of 100 bytes",
        ),
        (
            3000,
            "truncated or damaged: 3000 bytes, but its header says 82616",
        ),
        (
            whole.len() - 1,
            "truncated or damaged: 82615 bytes, but its header says 82616",
        ),
    ] {
        Train::new("truncated-weights")
            .model(|model| fs::write(weights(model), &whole[..length]).unwrap())
            .says(MODEL, &format!("$/model/model.safetensors: {problem}"));
    }
}

#[test]
fn weights_that_are_something_else() {
    let message = Train::new("not-weights")
        .model(|model| fs::write(weights(model), "<!DOCTYPE html>, not a model").unwrap())
        .refused(MODEL);
    let start = "$/model/model.safetensors: not safetensors, or truncated: the header would take ";
    assert!(message.starts_with(start), "{message}");
}

#[test]
fn a_missing_part_of_sharded_weights() {
    let mut train = Train::new("missing-shard");
    train.model = fixture("models/llama-sharded");
    train
        .model(|model| fs::remove_file(model.join("model-00003-of-00004.safetensors")).unwrap())
        .says(
            FILE,
            "$/model/model-00003-of-00004.safetensors: No such file or directory (os error 2)",
        );
}

#[test]
fn wrong_shapes() {
    Train::new("wrong-shapes")
        .model(|model| edit_config(model, "intermediate_size", 80.into()))
        .says(
            MODEL,
            "$/model: tensor model.layers.0.mlp.gate_proj.weight has shape [40, 32], but config.json asks for [80, 32]",
        );
}

#[test]
fn missing_tensors() {
    Train::new("missing-tensors")
        .model(|model| edit_config(model, "num_hidden_layers", 3.into()))
        .says(
            MODEL,
            "$/model: tensor model.layers.2.self_attn.q_proj.weight is missing",
        );
}

#[test]
fn an_unknown_architecture() {
    Train::new("unknown-architecture")
        .model(|model| edit_config(model, "model_type", "gpt2".into()))
        .says(
            MODEL,
            "$/model/config.json: unknown architecture \"gpt2\"; known: llama, mistral, qwen2, qwen3",
        );
}

#[test]
fn a_malformed_configuration_of_the_model() {
    Train::new("malformed-config")
        .model(|model| fs::write(model.join("config.json"), "{").unwrap())
        .says(
            MODEL,
            "$/model/config.json: EOF while parsing an object at line 1 column 1",
        );
    Train::new("no-heads")
        .model(|model| edit_config(model, "num_attention_heads", 0.into()))
        .says(
            MODEL,
            "config.json: num_attention_heads = 0; allowed: 1 to 16777216",
        );
}

#[test]
fn nan_in_weights() {
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        Train::new("nan")
            .model(|model| {
                let mut bytes = fs::read(weights(model)).unwrap();
                let last = bytes.len() - 4;
                bytes[last..].copy_from_slice(&value.to_le_bytes());
                fs::write(weights(model), bytes).unwrap();
            })
            .says(
                MODEL,
                &format!("$/model/model.safetensors: model.norm.weight: element 31 is {name}"),
            );
    }
}

#[test]
fn a_loss_that_is_not_finite() {
    let train = Train::new("diverged").model(|model| {
        // Finite weights whose products are not.
        let mut bytes = fs::read(weights(model)).unwrap();
        for value in bytes[2104..].as_chunks_mut::<4>().0 {
            *value = 3e38f32.to_le_bytes();
        }
        fs::write(weights(model), bytes).unwrap();
    });
    let said = say(train.command().arg("--quiet"));
    assert_eq!(said.code, Some(STATE), "{}", said.stderr);
    assert!(said.stderr.starts_with("error: "), "{}", said.stderr);
    assert!(said.stderr.contains("NaN"), "{}", said.stderr);
    assert!(train.half_written().is_empty());
}

#[test]
fn an_absent_tokenizer() {
    let remove = |model: &Path| fs::remove_file(model.join("tokenizer.json")).unwrap();
    let train = Train::new("no-tokenizer").model(remove);
    let said = say(halo("generate --prompt t3 --model").arg(&train.model));
    assert_eq!(said.code, Some(MODEL));
    let start = "error: $/model: tokenizer.json is missing";
    assert!(train.message(&said).starts_with(start), "{}", said.stderr);
    // Token ids need none.
    let said = say(&mut train.command());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

// Data files: what is refused stands in bad_data.rs; this is what is left out and reported.

/// A line that is right, of one class and the other.
const GOOD: &str = "{\"prompt\": \" t3 t4\", \"completion\": \" t5\", \"label\": true}\n";
const BAD: &str = "{\"prompt\": \" t3 t6\", \"completion\": \" t7\", \"label\": false}\n";

#[test]
fn an_empty_completion_is_left_out_and_reported() {
    let empty = "{\"prompt\": \" t3 t4\", \"completion\": \"\", \"label\": true}\n";
    let train = Train::new("empty-completion").data(&format!("{GOOD}{empty}{BAD}"));
    let said = say(&mut train.command());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let report = train.message(&said);
    assert!(
        report.starts_with("3 lines of $/data.jsonl: 2 completions kept"),
        "{report}"
    );
    assert!(
        report.contains("  1 dropped: empty completion\n"),
        "{report}"
    );
}

#[test]
fn a_prompt_that_fills_the_limit_is_left_out_and_reported() {
    let long = "{\"prompt\": \" t3 t4 t5 t6 t7 t8\", \"completion\": \" t5\", \"label\": true}\n";
    let train = Train::new("long-prompt").data(&format!("{GOOD}{long}{BAD}"));
    let train = train.args("--steps 1 --max-length 4");
    let said = say(&mut train.command());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let dropped = "  1 dropped: nothing of the completion is left within the length limits\n";
    assert!(train.message(&said).contains(dropped), "{}", said.stderr);
}

// Arguments.

#[test]
fn an_unknown_loss() {
    let known: Vec<_> = halo_loss::registry().iter().map(|spec| spec.name).collect();
    Train::new("unknown-loss").args("--loss ktoo").says(
        ARGUMENT,
        &format!("unknown loss \"ktoo\"; known: {}", known.join(", ")),
    );
    let said = say(&mut halo("losses ktoo"));
    assert_eq!(said.code, Some(ARGUMENT));
    assert!(
        said.stderr
            .starts_with("error: unknown loss \"ktoo\"; known: ")
    );
}

#[test]
fn an_unknown_parameter_of_a_loss() {
    let spec = halo_loss::find("kto").unwrap();
    let known: Vec<_> = spec.all_params().map(|param| param.name).collect();
    Train::new("unknown-parameter").args("--set betta=1").says(
        ARGUMENT,
        &format!(
            "kto: unknown parameter \"betta\"; known: {}",
            known.join(", ")
        ),
    );
}

#[test]
fn a_parameter_out_of_range() {
    for (args, message) in [
        ("--set beta=-1", "kto: beta = -1 is outside 1e-6..=100000"),
        ("--set beta", "\"beta\" is not of the form key=value"),
        ("--ramp beta", "--ramp \"beta\" is not of the form key=to"),
        (
            "--ramp beta=1:round",
            "\"1:round\" is not TO[:SHAPE[:START[:END]]], as in 0.5:cosine:0.1:0.9; shapes: linear, cosine, geometric",
        ),
        (
            "--ramp value=1",
            "loss_schedule.value: no parameter of kto that is a number",
        ),
        ("--ramp beta=-1", "kto: beta = -1 is outside 1e-6..=100000"),
        (
            "--reference-sync 0:2",
            "reference_sync.mix = 0 is outside 0 (exclusive)..=1",
        ),
        ("--loss kto+kto", "kto stands twice in the sum"),
        (
            "--loss 0*kto",
            "\"0\" in \"0*kto\" is not a positive weight",
        ),
        ("--lr=-1", "learning_rate = -1; allowed: 0 to 1000"),
        ("--lr nan", "learning_rate = NaN; allowed: 0 to 1000"),
        (
            "--batch-size 0",
            "per_device_train_batch_size = 0; allowed: 1 or more",
        ),
        ("--max-length 1", "max_length = 1 is less than 2"),
        (
            "--device tpu",
            "device = \"tpu\"; known: cpu, cuda:0 and so on",
        ),
        (
            "--dtype bf16",
            "dtype = \"bf16\" with device = \"cpu\": the cpu computes with f32 only; leave dtype out, or choose a GPU",
        ),
        (
            "--optim adamw_torch",
            "optim = \"adamw_torch\"; known: adamw, adamw_8bit",
        ),
        ("--lora 0", "lora rank = 0; allowed: 1 or more"),
        (
            "--lora 2 --lora-layers 0,2",
            "lora layer 2 does not exist; allowed: 0 to 1",
        ),
        (
            "--lora-alpha 2",
            "lora_alpha, lora_target_modules and lora_layers need lora_r",
        ),
    ] {
        Train::new("out-of-range")
            .args(args)
            .says(ARGUMENT, message);
    }
}

#[test]
fn an_unknown_flag() {
    let message = Train::new("unknown-flag")
        .args("--learning-rat 1")
        .refused(ARGUMENT);
    assert!(
        message.starts_with("unexpected argument '--learning-rat' found"),
        "{message}"
    );
    let message = Train::new("unknown-order")
        .args("--order up")
        .refused(ARGUMENT);
    assert!(
        message.contains("unknown order \"up\"; known: shuffled, file"),
        "{message}"
    );
}

#[test]
fn a_missing_model_or_folder() {
    for (flag, message) in [
        ("--out", "model is missing"),
        ("--model", "output_dir is missing"),
    ] {
        let said = say(halo("train --data none.jsonl").args([flag, "here"]));
        assert_eq!(said.code, Some(ARGUMENT));
        assert_eq!(said.stderr, format!("error: {message}\n"));
    }
}

// Configuration files.

#[test]
fn an_unknown_key_of_a_configuration_file() {
    let mut train = Train::new("unknown-key");
    let file = train.scratch.file("run.toml", "learning_rat = 1e-5\n");
    train.args = vec!["--config".into(), file.display().to_string()];
    let message = train.refused(ARGUMENT);
    let start = "$/run.toml: unknown field `learning_rat`, expected one of `model`, ";
    assert!(message.starts_with(start), "{message}");
    assert!(message.contains("`learning_rate`"), "{message}");
}

#[test]
fn a_malformed_configuration_file() {
    for (text, part) in [
        (
            "learning_rate = \n",
            "TOML parse error at line 1, column 17",
        ),
        (
            "learning_rate = \"fast\"\n",
            "$/run.toml: invalid type: string \"fast\"",
        ),
        (
            "[loss_parameters]\nbetta = 1\n",
            "kto: unknown parameter \"betta\"; known: beta",
        ),
        (
            "loss_parameters = 3\n",
            "$/run.toml: invalid type: integer `3`, expected a map",
        ),
    ] {
        let mut train = Train::new("malformed-toml");
        let file = train.scratch.file("run.toml", text);
        train.args = vec!["--config".into(), file.display().to_string()];
        let message = train.refused(ARGUMENT);
        assert!(message.contains(part), "{message}");
    }
    let mut train = Train::new("no-toml");
    let file = train.scratch.path("none.toml").display().to_string();
    train.args = vec!["--config".into(), file];
    train.says(FILE, "$/none.toml: No such file or directory (os error 2)");
}

// The run's folder.

#[test]
fn an_output_that_cannot_be_written() {
    let mut train = Train::new("unwritable");
    let file = train.scratch.file("file", "");
    train.out = file.clone();
    train.says(FILE, "$/file: File exists (os error 17)");
    train.out = file.join("run");
    train.says(FILE, "$/file/run: Not a directory (os error 20)");
    assert_eq!(fs::read(file).unwrap(), b"");
}

#[test]
fn an_output_that_is_the_model_itself() {
    let mut train = Train::new("in-place").model(|_| ());
    let before = fs::read(weights(&train.model)).unwrap();
    train.out = train.model.join("../model");
    let said = say(&mut train.command());
    assert_eq!(said.code, Some(ARGUMENT));
    assert_eq!(
        said.stderr,
        "error: output_dir is the model's own folder: the run would overwrite what it starts from\n"
    );
    assert!(fs::read(weights(&train.model)).unwrap() == before);
    assert!(!train.model.join("run.toml").exists());
}

#[test]
fn an_output_that_holds_a_run_already() {
    let train = Train::new("claimed");
    assert_eq!(say(&mut train.command()).code, Some(0));
    let said = say(&mut train.command());
    assert_eq!(said.code, Some(STATE));
    assert_eq!(
        train.message(&said),
        "error: $/run holds a run already; continue it with --resume, or choose another --out\n"
    );
}

#[test]
fn a_resume_without_a_run() {
    Train::new("no-run")
        .args("--resume")
        .says(STATE, "$/run holds no run to resume");
}

#[test]
fn a_resume_needs_the_folder_only_and_refuses_a_changed_configuration() {
    let train = Train::new("changed").args("--steps 4 --save-every 2 --batch-size 4");
    assert_eq!(say(&mut train.command()).code, Some(0));
    let before = fs::read(train.out.join("model.safetensors")).unwrap();
    let resume = |more: &str| {
        say(halo("train --resume --out")
            .arg(&train.out)
            .args(more.split_whitespace()))
    };
    let said = resume("--lr 0.5 --set beta=0.3");
    assert_eq!(said.code, Some(STATE));
    assert_eq!(
        train.message(&said),
        "error: $/run/checkpoint-4 was made with another configuration: loss_parameters = {}, now {\"beta\":0.3}, \
         learning_rate = 1e-6, now 0.5; resume with the same, or start a new run in another folder\n"
    );
    let said = resume("");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(fs::read(train.out.join("model.safetensors")).unwrap() == before);
    assert_eq!(metrics(&train.out).len(), 4);
}

/// `halo train` through a shell that sets something up first.
#[cfg(unix)]
fn through_shell(shell: &mut Command, setup: &str, train: &Command) -> Said {
    let script = format!("{setup} && exec \"$0\" \"$@\"");
    shell
        .arg(script)
        .arg(train.get_program())
        .args(train.get_args());
    say(shell)
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow() {
    // No file beyond 32 KiB (blocks of 512 bytes): the metrics fit, the checkpoint's weights do not.
    let train = Train::new("may-not-grow").args("--quiet --steps 4 --batch-size 4");
    let limit = "trap '' XFSZ && ulimit -f 64";
    let said = through_shell(Command::new("sh").arg("-c"), limit, &train.command());
    assert_eq!(said.code, Some(FILE), "{}", said.stderr);
    assert_eq!(
        train.message(&said),
        "error: $/run/checkpoint-4.partial/model.safetensors: File too large (os error 27)\n"
    );
    assert!(train.half_written().is_empty());
    // The run goes on where there is room: no checkpoint was made, so from the start.
    let said = say(halo("train --quiet --resume --out").arg(&train.out));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert_eq!(metrics(&train.out).len(), 4);
}

#[cfg(unix)]
#[test]
fn metrics_on_a_full_disk_hold_whole_lines_only() {
    // No file beyond 4 KiB: the metrics grow into it long before the first checkpoint.
    let train = Train::new("full-metrics").args("--quiet --steps 40 --batch-size 4");
    let limit = "trap '' XFSZ && ulimit -f 8";
    let said = through_shell(Command::new("sh").arg("-c"), limit, &train.command());
    assert_eq!(said.code, Some(FILE), "{}", said.stderr);
    assert_eq!(
        train.message(&said),
        "error: $/run/metrics.jsonl: File too large (os error 27)\n"
    );
    let text = fs::read_to_string(train.out.join("metrics.jsonl")).unwrap();
    assert!(text.ends_with("}\n") && text.len() > 3000, "{text}");
    assert!(train.half_written().is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    // A file system of 300 KiB in a mount namespace of this process alone: one checkpoint fits, two do not.
    let train = Train::new("full-disk").args("--quiet --steps 4 --save-every 1 --batch-size 4");
    fs::create_dir(&train.out).unwrap();
    let out = train.out.display();
    let mount = format!("mount -t tmpfs -o size=300k none '{out}'");
    let possible = Command::new("unshare")
        .args(["-rm", "sh", "-c", &mount])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("not run: this machine allows no mount namespace; see a_file_that_may_not_grow");
        return;
    }
    // The folder is gone with the namespace: its content is listed inside.
    let script = format!("{mount} && \"$0\" \"$@\"; code=$?; find '{out}' | sort; exit $code");
    let command = train.command();
    let mut shell = Command::new("unshare");
    shell
        .args(["-rm", "sh", "-c", &script])
        .arg(command.get_program());
    let said = say(shell.args(command.get_args()));
    assert_eq!(said.code, Some(FILE), "{}", said.stderr);
    let message = train.message(&said);
    assert!(
        message.starts_with("error: $/run/checkpoint-2.partial/"),
        "{message}"
    );
    assert!(
        message.ends_with(": No space left on device (os error 28)\n"),
        "{message}"
    );
    assert!(
        said.stdout.contains("/run/checkpoint-1/halo.json\n"),
        "{}",
        said.stdout
    );
    assert!(!said.stdout.contains("partial"), "{}", said.stdout);
}

// Generation and evaluation.

#[test]
fn prompts_and_sampling_that_are_wrong() {
    let scratch = Scratch::new("prompts");
    let prompts = scratch.file("prompts.jsonl", "{\"prompt\": \" t3\"}\n{\"prompt\": 3}\n");
    let none = scratch.path("none.jsonl");
    let empty = scratch.file("empty.jsonl", "");
    let model = fixture("models/llama");
    let generate = |args: &[&str], file: &Path| {
        let mut command = halo("generate --max-new-tokens 3 --model");
        let said = say(command.arg(&model).arg("--prompts").arg(file).args(args));
        assert_eq!(said.stdout, "");
        let own = scratch.path("").display().to_string();
        (said.code, said.stderr.replace(&own, ""))
    };
    for (file, code, message) in [
        (
            &prompts,
            DATA,
            "prompts.jsonl, line 2: `prompt` must be a string or a list of messages, not the number 3",
        ),
        (
            &none,
            FILE,
            "none.jsonl: No such file or directory (os error 2)",
        ),
        (&empty, DATA, "empty.jsonl: no prompts"),
    ] {
        let (found, said) = generate(&[], file);
        assert_eq!(found, Some(code), "{said}");
        assert!(said.starts_with(&format!("error: {message}")), "{said}");
    }
    for (args, message) in [
        (
            ["--temperature", "nan"],
            "temperature = NaN; allowed: 0 to 1000",
        ),
        (["--top-p", "0"], "top_p = 0; allowed: above 0, up to 1"),
        (["--samples", "0"], "samples = 0; allowed: 1 or more"),
    ] {
        let one = scratch.file("one.jsonl", "{\"prompt\": \" t3\"}\n");
        assert_eq!(
            generate(&args, &one),
            (Some(ARGUMENT), format!("error: {message}\n"))
        );
    }
}

#[test]
fn a_judge_that_is_unknown_or_fails() {
    let scratch = Scratch::new("judge");
    let prompts = scratch.file("prompts.jsonl", "{\"prompt\": \" t3\"}\n");
    let judge = |flag: &str, value: &str| {
        let mut command = halo("eval --quiet --max-new-tokens 3 --model");
        command
            .arg(fixture("models/llama"))
            .arg("--prompts")
            .arg(&prompts);
        let said = say(command.args([flag, value]));
        assert_eq!(said.stdout, "");
        assert!(
            said.code.is_some_and(|code| code > 1),
            "{:?}: {}",
            said.code,
            said.stderr
        );
        said.stderr
    };
    let said = judge("--judge", "taste");
    assert!(
        said.starts_with("error: unknown judge \"taste\"; known: "),
        "{said}"
    );
    for (command, part) in [
        ("exit 3", "exit"),
        ("echo nonsense", "nonsense"),
        ("true", "answer"),
        ("halo-has-no-such-command", "halo-has-no-such-command"),
    ] {
        let said = judge("--judge-command", command);
        assert!(said.contains(part), "{command}: {said}");
    }
}

#[test]
fn an_export_that_cannot_be_made() {
    let scratch = Scratch::new("export");
    let model = fixture("models/llama");
    let export = |args: &[&str]| {
        let said = say(halo("export --model").arg(&model).args(args));
        (said.code, said.stderr)
    };
    let there = scratch.path("").display().to_string();
    let there = there.trim_end_matches('/');
    let message = format!("error: {there} exists already\n");
    assert_eq!(export(&["--out", there]), (Some(ARGUMENT), message));
    let out = scratch.path("out").display().to_string();
    let message = "error: dtype = \"int4\"; known: f32, bf16\n".to_string();
    assert_eq!(
        export(&["--out", &out, "--dtype", "int4"]),
        (Some(ARGUMENT), message)
    );
    assert!(!Path::new(&out).exists());
}
