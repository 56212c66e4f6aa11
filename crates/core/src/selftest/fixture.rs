//! A tiny model and data for it, drawn from a seed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use halo_train::Rng;
use serde_json::json;

use crate::array::Array;
use crate::device::{Device, Dtype};
use crate::models::read_config;
use crate::models::save::write_json;
use crate::tensor_file::{SaveDtype, write_tensors};
use crate::{Error, Result, weights};

const VOCABULARY: u64 = 331;
const EXAMPLES: usize = 48;

/// A folder with a policy, a reference that differs from it, and data of both kinds; removed at its end.
pub(super) struct Fixture {
    folder: PathBuf,
}

impl Fixture {
    pub(super) fn new() -> Result<Fixture> {
        // The clock tells apart the folders of one process's threads.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let unique = now.map_or(0, |now| now.as_nanos());
        let name = format!("halo-selftest-{}-{unique}", std::process::id());
        let fixture = Fixture {
            folder: std::env::temp_dir().join(name),
        };
        model(&fixture.policy(), 0.0)?;
        model(&fixture.reference(), 0.02)?;
        write(&fixture.data("feedback"), unpaired())?;
        write(&fixture.data("pairs"), paired())?;
        Ok(fixture)
    }

    pub(super) fn policy(&self) -> PathBuf {
        self.folder.join("policy")
    }

    pub(super) fn reference(&self) -> PathBuf {
        self.folder.join("reference")
    }

    pub(super) fn data(&self, kind: &str) -> PathBuf {
        self.folder.join(kind).with_extension("jsonl")
    }

    /// A folder for a run.
    pub(super) fn run(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Nothing to tell anyone: a temporary folder that stays harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Grouped queries, a head dimension and a width that are no powers of two, a window in no block; `noise` makes another model of it.
fn model(folder: &Path, noise: f64) -> Result<()> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": VOCABULARY,
        "hidden_size": 96, "intermediate_size": 208, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "float32",
    });
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    write_json(&folder.join("config.json"), &config)?;
    let mut rng = Rng::new(11);
    let mut other = Rng::new(12);
    let mut tensors = BTreeMap::new();
    for (name, shape, _) in read_config(folder)?.0.parameters() {
        let norm = shape.len() == 1;
        let mut draw = || {
            let value = rng.normal() * if norm { 0.1 } else { 0.12 } + f64::from(u8::from(norm));
            (value + noise * other.normal()) as f32
        };
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|_| draw()).collect();
        let array = Array::from_vec(&Device::Cpu, Dtype::F32, values, shape)?;
        tensors.insert(name, array);
    }
    write_tensors(&folder.join(weights::SINGLE), tensors, SaveDtype::F32)
}

/// Completions with a wish: desirable ones prefer low ids.
fn unpaired() -> String {
    let mut rng = Rng::new(21);
    let mut lines = String::new();
    for i in 0..EXAMPLES {
        let label = i % 2 == 0;
        let line = json!({
            "prompt_ids": ids(&mut rng, 30, VOCABULARY),
            "completion_ids": ids(&mut rng, 40, if label { VOCABULARY / 2 } else { VOCABULARY }),
            "label": label,
        });
        let _ = writeln!(lines, "{line}"); // a String takes everything
    }
    lines
}

fn paired() -> String {
    let mut rng = Rng::new(22);
    let mut lines = String::new();
    for _ in 0..EXAMPLES {
        let line = json!({
            "prompt_ids": ids(&mut rng, 30, VOCABULARY),
            "chosen_ids": ids(&mut rng, 40, VOCABULARY / 2),
            "rejected_ids": ids(&mut rng, 40, VOCABULARY),
        });
        let _ = writeln!(lines, "{line}");
    }
    lines
}

fn ids(rng: &mut Rng, longest: u64, below: u64) -> Vec<u64> {
    let length = 1 + rng.below(longest);
    (0..length).map(|_| 3 + rng.below(below - 3)).collect()
}

fn write(path: &Path, text: String) -> Result<()> {
    fs::write(path, text).map_err(|e| Error::io(path, e))
}
