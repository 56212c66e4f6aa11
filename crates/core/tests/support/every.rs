//! For tests over the whole registry: data in the shape that a loss reads, and a run of it that must leave only finite numbers.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several test programs, each of which uses its part"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test's helper, outside the test functions that clippy knows"
)]

use std::fs;
use std::path::{Path, PathBuf};

use halo_core::config::TrainConfig;
use halo_core::session::Session;
use halo_core::weights::Weights;
use halo_loss::{DataShape, Loss, Need, Params, Spec};
use halo_train::Schedule;
use serde_json::{Value, json};

pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// A folder of a test's own, removed at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("halo-every-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// The lines as a file of this name.
    pub fn file(&self, name: &str, lines: &[Value]) -> PathBuf {
        let path = self.0.join(name);
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a language model can train: all but the losses of denoising errors.
pub fn trainable() -> impl Iterator<Item = &'static Spec> {
    let all = halo_loss::registry().iter().copied();
    all.filter(|spec| !spec.needs.contains(&Need::Errors))
}

/// One prompt with two answers, the better one first, as lines of this shape.
pub fn lines(shape: DataShape, prompt: &[u32], better: &[u32], worse: &[u32]) -> Vec<Value> {
    match shape {
        DataShape::Paired => vec![json!({
            "prompt_ids": prompt, "chosen_ids": better, "rejected_ids": worse,
        })],
        DataShape::Unpaired => vec![
            json!({"prompt_ids": prompt, "completion_ids": better, "label": true}),
            json!({"prompt_ids": prompt, "completion_ids": worse, "label": false}),
        ],
        DataShape::Grouped => vec![
            json!({"prompt_ids": prompt, "completion_ids": better, "score": 1.0}),
            json!({"prompt_ids": prompt, "completion_ids": worse, "score": -0.5}),
        ],
        DataShape::Any => vec![json!({"prompt_ids": prompt, "completion_ids": better})],
    }
}

/// A run of a loss by its name, short and fast enough to move every weight.
pub fn config(loss: &str, params: &Params, model: &Path, data: &Path, out: &Path) -> TrainConfig {
    let mut config = TrainConfig {
        model: model.to_path_buf(),
        data: vec![data.to_path_buf()],
        loss: loss.into(),
        loss_parameters: params.clone(),
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        max_steps: Some(2),
        learning_rate: 1e-3,
        lr_scheduler_type: Schedule::Constant,
        output_dir: out.to_path_buf(),
        ..TrainConfig::default()
    };
    let built = Loss::new(loss, params).ok();
    if built.is_some_and(|loss| loss.needs(Need::ControlTokens)) {
        // token ids: their prompts end in the control token of their label already
        config.control_desirable = Some(String::new());
        config.control_undesirable = Some(String::new());
    }
    config
}

/// Runs to the end; every number that is reported or saved is finite, and the saved tensors are handed back by name.
///
/// # Errors
/// Those of opening the run; one of a step fails the test.
pub fn train(config: &TrainConfig) -> halo_core::Result<Vec<(String, Vec<f32>)>> {
    let what = format!("{} {:?}", config.loss, config.loss_parameters);
    let mut session = Session::open(config.clone(), false)?;
    // That a gradient reached every parameter the optimizer checks itself.
    while let Some(step) = session.step().unwrap_or_else(|e| panic!("{what}: {e}")) {
        // serde_json writes what is not finite as null
        let metrics = [step.metrics.loss, step.metrics.grad_norm];
        assert!(metrics.iter().all(|x| x.is_finite()), "{what}: {step:?}");
        let others = format!("{step:?}");
        assert!(
            !others.contains("NaN") && !others.contains("inf"),
            "{what}: {others}"
        );
    }
    drop(session);
    let tensors = tensors(&config.output_dir, config.lora_r.is_some());
    for (name, values) in &tensors {
        assert!(values.iter().all(|x| x.is_finite()), "{what}: {name}");
    }
    fs::remove_dir_all(&config.output_dir).unwrap();
    Ok(tensors)
}

/// The tensors of a model's folder, or of an adapter's.
pub fn tensors(folder: &Path, adapter: bool) -> Vec<(String, Vec<f32>)> {
    let file = match adapter {
        true => "adapter_model.safetensors",
        false => "model.safetensors",
    };
    let weights = Weights::from_files([folder.join(file)]).unwrap();
    let read = |name: &str| weights.read(name, weights.shape(name).unwrap()).unwrap();
    let named = weights.names().map(|name| (name.to_string(), read(name)));
    named.collect()
}
