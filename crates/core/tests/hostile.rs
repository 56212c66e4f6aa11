//! Random, hostile and truncated files at every door of the engine: refused with a reason or read, never a panic.
//!
//! Data files have tests of their own in `data_load.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use std::fs;
use std::path::{Path, PathBuf};

use halo_core::Result;
use halo_core::config::TrainConfig;
use halo_core::models::{LoraConfig, Training, load};
use halo_core::session::Session;
use halo_core::tokenizer::Tokenizer;
use halo_train::{Gradient, Pack, Rng, Sequence};
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/fixtures")
        .canonicalize()
        .unwrap()
}

/// A copy of a folder, removed at the test's end.
struct Copy(PathBuf);

impl Copy {
    fn of(folder: &Path, test: &str) -> Copy {
        let path = std::env::temp_dir().join(format!("halo-hostile-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
        }
        Copy(path)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One of the ways in which files go wrong; those that look at `front` stay within its bytes.
fn damage(bytes: &[u8], front: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = rng.below(front.min(bytes.len()) as u64) as usize;
    match rng.below(5) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << rng.below(8),
        2 => bytes[at] = rng.next_u64() as u8,
        3 => {
            let end = (at + 1 + rng.below(20) as usize).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => {
            let digits = *b"99999999999999999999";
            let end = (at + rng.below(20) as usize).min(bytes.len());
            bytes.splice(at..end, digits[..end - at].iter().copied());
        }
    }
    bytes
}

/// Every value of a JSON object, nested ones too, in turn replaced by every kind of nonsense, or removed.
fn nonsense(json: &Value) -> Vec<Value> {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(3),
        json!(0.5),
        json!(1e300),
        json!(4_294_967_295u64),
        json!(u64::MAX),
        json!("x"),
        json!([]),
        json!([1]),
        json!({}),
    ];
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Value)| {
        let mut copy = json.clone();
        change(&mut copy);
        all.push(copy);
    };
    for (key, value) in json.as_object().unwrap() {
        with(&|json| drop(json.as_object_mut().unwrap().remove(key)));
        values
            .iter()
            .for_each(|v| with(&|json| json[key] = v.clone()));
        for inner in value.as_object().into_iter().flat_map(|map| map.keys()) {
            values
                .iter()
                .for_each(|v| with(&|json| json[key][inner] = v.clone()));
        }
    }
    all
}

/// How many were refused of how many; every refusal has a reason, and is nobody's internal error.
#[derive(Default)]
struct Tally {
    tried: usize,
    refused: usize,
}

impl Tally {
    fn count<T>(&mut self, outcome: Result<T>, what: &dyn Fn() -> String) {
        self.tried += 1;
        if let Err(error) = outcome {
            self.refused += 1;
            assert!(!error.is_internal(), "{error}: {}", what());
            assert!(!error.to_string().is_empty());
        }
    }

    fn print(&self, what: &str) {
        println!("{what}: {} of {} refused", self.refused, self.tried);
        assert!(self.refused * 4 > self.tried, "most damage is noticed");
    }
}

/// Loads a model or adapter and uses it.
fn load_and_run(folder: &Path, training: &Training) -> Result<()> {
    let model = load(folder, training, 0)?;
    let sequence = Sequence {
        prompt: &[3, 4],
        completion: &[5, 6, 2],
        grad: true,
    };
    let pack = Pack::build(&[sequence], true);
    let (_, tape) = model.decoder.forward(&pack, true)?;
    match tape {
        Some(tape) => model.decoder.backward(
            tape,
            &pack.spread(&Gradient::Sequences(vec![1.0])),
            &model.bank,
        ),
        None => Ok(()),
    }
}

#[test]
fn nonsense_in_a_models_configuration() {
    for family in ["llama-rope", "mistral", "qwen2-window", "qwen3"] {
        let copy = Copy::of(&fixtures().join("models").join(family), family);
        let path = copy.0.join("config.json");
        let json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let mut tally = Tally::default();
        for config in nonsense(&json) {
            fs::write(&path, config.to_string()).unwrap();
            let outcome = load_and_run(&copy.0, &Training::Full);
            tally.count(outcome, &|| config.to_string());
        }
        tally.print(family);
    }
}

#[test]
fn nonsense_in_an_adapters_configuration() {
    let copy = Copy::of(&fixtures().join("trl/kto-lora/adapter"), "adapter");
    let path = copy.0.join("adapter_config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["base_model_name_or_path"] = fixtures().join("models/llama").to_str().into();
    fs::write(&path, json.to_string()).unwrap();
    load_and_run(&copy.0, &Training::Frozen).unwrap();
    let lora = Training::Lora(LoraConfig {
        target_modules: vec!["q_proj".into(), "v_proj".into()],
        ..LoraConfig::all_linear(4, 8.0)
    });
    for training in [Training::Frozen, lora] {
        for config in nonsense(&json) {
            fs::write(&path, config.to_string()).unwrap();
            let mut tally = Tally::default();
            tally.count(load_and_run(&copy.0, &training), &|| config.to_string());
        }
    }
}

#[test]
fn damaged_weights() {
    let copy = Copy::of(&fixtures().join("models/llama"), "weights");
    let path = copy.0.join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let (mut rng, mut tally) = (Rng::new(1), Tally::default());
    for _ in 0..600 {
        // The header: damage within the numbers is another model, not a broken file.
        let damaged = damage(&whole, 2104, &mut rng);
        fs::write(&path, &damaged).unwrap();
        tally.count(load_and_run(&copy.0, &Training::Frozen), &|| {
            String::from_utf8_lossy(&damaged[..damaged.len().min(2104)]).into_owned()
        });
    }
    tally.print("weights");
}

#[test]
fn damaged_tokenizers() {
    for name in ["byte-level", "sentence-piece"] {
        let copy = Copy::of(&fixtures().join("tokenizers").join(name), name);
        let mut rng = Rng::new(2);
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            let path = copy.0.join(file);
            let whole = fs::read(&path).unwrap();
            for _ in 0..150 {
                let damaged = damage(&whole, whole.len(), &mut rng);
                fs::write(&path, &damaged).unwrap();
                if let Ok(tokenizer) = Tokenizer::load(&copy.0) {
                    let _ = tokenizer.encode("Hé llo\n1");
                }
            }
            fs::write(&path, &whole).unwrap();
        }
    }
}

#[test]
fn damaged_checkpoints() {
    let out = Copy::of(&fixtures().join("models/llama"), "checkpoint");
    let config = TrainConfig {
        model: fixtures().join("models/llama"),
        data: vec![fixtures().join("trl/kto.jsonl")],
        max_steps: Some(2),
        save_steps: 1,
        output_dir: out.0.clone(),
        ..TrainConfig::default()
    };
    let mut session = Session::open(config.clone(), false).unwrap();
    session.step().unwrap();
    session.step().unwrap();
    drop(session);
    let mut rng = Rng::new(3);
    for (file, front) in [
        ("halo.json", usize::MAX),
        ("optimizer.safetensors", 4300),
        ("model.safetensors", 2104),
    ] {
        let path = out.0.join("checkpoint-1").join(file);
        let whole = fs::read(&path).unwrap();
        let mut tally = Tally::default();
        for _ in 0..60 {
            fs::write(&path, damage(&whole, front, &mut rng)).unwrap();
            tally.count(Session::open(config.clone(), true), &String::new);
        }
        tally.print(file);
        fs::write(&path, &whole).unwrap();
    }
    // Undamaged it still goes on.
    let mut session = Session::open(config, true).unwrap();
    assert_eq!(session.completed_steps(), 1);
    while session.step().unwrap().is_some() {}
}
