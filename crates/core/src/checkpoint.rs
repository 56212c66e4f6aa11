//! Checkpoints: a folder with everything a run needs to go on, bit for bit.
//!
//! `checkpoint-N/` is itself a model (or adapter) folder; beside the weights stand `optimizer.safetensors`, `halo.json`, and
//! `reference.safetensors` where the reference moves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use halo_train::MachineState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bank::Bank;
use crate::config::TrainConfig;
use crate::models::peft;
use crate::models::save::{SaveDtype, write_json, write_tensors};
use crate::optimizer::Optimizer;
use crate::reference::Reference;
use crate::weights::{self, Weights};
use crate::{Error, Result, atomic};

const STATE: &str = "halo.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const REFERENCE: &str = "reference.safetensors";
const PREFIX: &str = "checkpoint-";

/// What `halo.json` holds.
#[derive(Serialize, Deserialize)]
struct State {
    format: String,
    version: u32,
    engine: String,
    config: TrainConfig,
    machine: MachineState,
}

const FORMAT: &str = "halo.checkpoint";
const VERSION: u32 = 1;

/// A checkpoint that was read: everything, before anything is changed.
pub(crate) struct Stored {
    /// Where the run stood.
    pub(crate) machine: MachineState,
    params: Vec<f32>,
    moments: [Vec<f32>; 2],
    /// Of each trained tensor, where the reference moves.
    reference: Vec<Vec<f32>>,
}

/// A run's own checkpoint after so many steps.
pub(crate) fn folder(run: &Path, step: u64) -> PathBuf {
    run.join(format!("{PREFIX}{step}"))
}

/// Removes the oldest checkpoints of a run's folder beyond the limit.
pub(crate) fn prune(run: &Path, limit: usize) -> Result<()> {
    let mut all = list(run)?;
    let surplus = all.len().saturating_sub(limit);
    for (_, old) in all.drain(..surplus) {
        fs::remove_dir_all(&old).map_err(|e| Error::io(&old, e))?;
    }
    Ok(())
}

/// Writes a checkpoint, whole or not at all.
///
/// # Errors
/// A folder that stands there and is no checkpoint; what the operating system says.
pub(crate) fn save(
    path: &Path,
    config: &TrainConfig,
    machine: &MachineState,
    bank: &Bank,
    optimizer: &Optimizer,
    moving_reference: Option<&Reference>,
    save_weights: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if path.exists() && !path.join(STATE).is_file() {
        let message = format!(
            "{} is there and is no checkpoint: it would be replaced",
            path.display()
        );
        return Err(Error::parameter(message).with_argument("folder"));
    }
    atomic::folder(path, |folder| {
        save_weights(folder)?;
        let mut moments = BTreeMap::new();
        for (kind, flat) in optimizer.moments() {
            for entry in bank.entries() {
                let view = flat.part(entry.range.clone(), entry.shape.as_slice())?;
                moments.insert(format!("{kind}.{}", entry.name), view);
            }
        }
        write_tensors(&folder.join(OPTIMIZER), moments, SaveDtype::F32)?;
        if let Some(reference) = moving_reference {
            let tensors = reference.trained(bank)?;
            let names = bank.entries().iter().map(|entry| entry.name.clone());
            let tensors = names.zip(tensors).collect();
            write_tensors(&folder.join(REFERENCE), tensors, SaveDtype::F32)?;
        }
        let stored = State {
            format: FORMAT.into(),
            version: VERSION,
            engine: crate::ENGINE.into(),
            config: config.clone(),
            machine: machine.clone(),
        };
        let json = serde_json::to_value(stored).map_err(|e| Error::internal(e.to_string()))?;
        write_json(&folder.join(STATE), &json)
    })
}

/// The newest checkpoint of a run's folder.
pub(crate) fn latest(folder: &Path) -> Result<Option<PathBuf>> {
    Ok(list(folder)?.pop().map(|(_, path)| path))
}

/// Reads a checkpoint; nothing is changed by it.
///
/// # Errors
/// A checkpoint of another version, a configuration that differs (the keys are named), or damaged files.
pub(crate) fn read(
    folder: &Path,
    config: &TrainConfig,
    bank: &Bank,
    moving_reference: Option<&Reference>,
) -> Result<Stored> {
    let path = folder.join(STATE);
    let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let state: State = serde_json::from_str(&text)
        .map_err(|e| Error::state(format!("{}: {e}", path.display())))?;
    if (state.format.as_str(), state.version) != (FORMAT, VERSION) {
        return Err(Error::state(format!(
            "{}: {} version {}; known: {FORMAT} version {VERSION}",
            path.display(),
            state.format,
            state.version
        )));
    }
    let changed = changed_keys(&state.config, config)?;
    if !changed.is_empty() {
        return Err(Error::state(format!(
            "{} was made with another configuration: {}; resume with the same, or start a new run in another folder",
            folder.display(),
            changed.join(", ")
        )));
    }
    let file = if config.lora_r.is_some() {
        peft::WEIGHTS
    } else {
        weights::SINGLE
    };
    let weights = Weights::from_files([folder.join(file)])?;
    let moments = Weights::from_files([folder.join(OPTIMIZER)])?;
    let flat = |source: &Weights, prefix: &str| -> Result<Vec<f32>> {
        let mut flat = Vec::with_capacity(bank.len());
        for entry in bank.entries() {
            flat.extend(source.read(&format!("{prefix}{}", entry.name), &entry.shape)?);
        }
        Ok(flat)
    };
    let reference = match moving_reference {
        Some(_) => {
            let stored = Weights::from_files([folder.join(REFERENCE)])?;
            let entries = bank.entries().iter();
            entries
                .map(|entry| stored.read(&entry.name, &entry.shape))
                .collect::<Result<_>>()?
        }
        None => Vec::new(),
    };
    Ok(Stored {
        machine: state.machine,
        params: flat(&weights, "")?,
        moments: [flat(&moments, "exp_avg.")?, flat(&moments, "exp_avg_sq.")?],
        reference,
    })
}

impl Stored {
    /// Puts weights and moments back.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn apply(
        &self,
        bank: &Bank,
        optimizer: &Optimizer,
        moving_reference: Option<&Reference>,
    ) -> Result<()> {
        bank.edit_params(|params| {
            params.copy_from_slice(&self.params);
            Ok(())
        })?;
        let [exp_avg, exp_avg_sq] = &self.moments;
        optimizer.restore(exp_avg, exp_avg_sq)?;
        if let Some(reference) = moving_reference {
            for (tensor, values) in reference.trained(bank)?.iter().zip(&self.reference) {
                tensor.write(values)?;
            }
        }
        Ok(())
    }
}

/// `key = old, now new` for every key that must not change; where a run lives and how often it saves may.
fn changed_keys(old: &TrainConfig, new: &TrainConfig) -> Result<Vec<String>> {
    const FREE: [&str; 6] = [
        "output_dir",
        "save_steps",
        "save_total_limit",
        "record_examples",
        "gradient_checkpointing",
        "reference_cache",
    ];
    let json = |config: &TrainConfig| {
        serde_json::to_value(config).map_err(|e| Error::internal(e.to_string()))
    };
    let (old, new) = (json(old)?, json(new)?);
    let keys = old.as_object().into_iter().flat_map(|map| map.keys());
    Ok(keys
        .filter(|key| !FREE.contains(&key.as_str()) && old[*key] != new[*key])
        .map(|key| format!("{key} = {}, now {}", shown(&old[key]), shown(&new[key])))
        .collect())
}

fn shown(value: &Value) -> String {
    if value.is_null() {
        "unset".into()
    } else {
        value.to_string()
    }
}

/// The checkpoints of a folder, oldest first.
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    let mut all: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let step = name.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
            Some((step, entry.path()))
        })
        .collect();
    all.sort();
    Ok(all)
}
