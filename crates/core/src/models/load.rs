//! Loading a model folder: full model or PEFT adapter, for training or frozen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::adapter::{self, LoraConfig, PEFT_SCORE};
use super::config::{DecoderConfig, ParameterSpec, SCORE};
use super::decoder::Decoder;
use super::linear::Param;
use super::{peft, read_config};
use crate::array::Array;
use crate::bank::Bank;
use crate::device::{Dtype, Placement};
use crate::weights::Weights;
use crate::{Error, Result};

/// Which parameters are trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Training {
    /// None: a reference, or generation.
    Frozen,
    /// All of them.
    Full,
    /// Low-rank adapters on a frozen base.
    Lora(LoraConfig),
}

/// A model read from a folder, with its bank if it is trained.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub decoder: Decoder,
    /// Its trained parameters; empty if it is frozen.
    pub bank: Bank,
    /// The base model's `config.json`.
    pub config_json: Value,
    /// The folder of the base model: the given one, or the one that the adapter names.
    pub base: PathBuf,
    /// The adapters, if there are any.
    pub lora: Option<LoraConfig>,
}

/// What a model is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readout {
    /// Whatever the folder holds.
    AsStored,
    /// Log-probabilities: a reward model is refused.
    Logps,
    /// One score a sequence: a language model gets a fresh head for it.
    Scores,
}

/// Loads a Hugging Face model folder as it is, on the CPU; see [`load_for`].
///
/// # Errors
/// As [`load_for`].
pub fn load(folder: &Path, training: &Training, seed: u64) -> Result<Loaded> {
    let cpu = Placement::default();
    load_for(folder, training, Readout::AsStored, seed, &cpu)
}

/// Loads a Hugging Face model folder, or a PEFT adapter folder on top of its base.
///
/// A fresh adapter starts as PEFT's does (A random by `seed`, B zero); an adapter folder's own values are continued.
///
/// # Errors
/// Missing, truncated or non-finite weights, wrong shapes, an unknown architecture, or adapters that do not fit the request.
pub fn load_for(
    folder: &Path,
    training: &Training,
    readout: Readout,
    seed: u64,
    placement: &Placement,
) -> Result<Loaded> {
    let stored = peft::read(folder)?;
    let base = stored
        .as_ref()
        .map_or(folder.to_path_buf(), |stored| stored.base.clone());
    let (mut config, config_json) = read_config(&base)?;
    config.score_head |= stored.as_ref().is_some_and(|stored| stored.score_head);
    match readout {
        Readout::Logps if config.score_head => {
            return Err(Error::model(format!(
                "{} is a reward model: it scores, and gives no log-probabilities",
                folder.display()
            )));
        }
        Readout::Scores => config.score_head = true,
        Readout::AsStored | Readout::Logps => {}
    }
    let weights = Weights::open(&base)?;
    let lora = match (&stored, training) {
        (Some(_), Training::Full) => {
            return Err(Error::parameter(format!(
                "{} is an adapter: train it with LoRA, or merge it first with `halo export`",
                folder.display()
            )));
        }
        (Some(stored), Training::Lora(asked))
            if stored.lora.clone().ordered() != asked.clone().ordered() =>
        {
            return Err(Error::parameter(format!(
                "{} holds {}; asked for {}",
                folder.display(),
                describe(&stored.lora),
                describe(asked)
            )));
        }
        (Some(stored), _) => Some(stored.lora.clone()),
        (None, Training::Lora(asked)) => Some(asked.clone()),
        (None, _) => None,
    };
    if let Some(lora) = &lora {
        lora.check(&config)?;
    }

    let base_specs = base_parameters(&config, &weights).map_err(|e| e.context(base.display()))?;
    let adapter_specs = lora
        .as_ref()
        .map_or(Vec::new(), |lora| lora.parameters(&config));
    let trained: &[ParameterSpec] = match training {
        Training::Frozen => &[],
        Training::Full => &base_specs,
        Training::Lora(_) => &adapter_specs,
    };
    let bank = Bank::new(trained.iter().cloned(), placement)?;

    let mut params = BTreeMap::new();
    for (name, shape, _) in &base_specs {
        let values = match name == SCORE && weights.shape(name).is_none() {
            true => adapter::initialise(name, shape, seed),
            false => weights.read(name, shape)?,
        };
        params.insert(name.clone(), place(name, shape, values, &bank, placement)?);
    }
    for (name, shape, _) in &adapter_specs {
        let values = match &stored {
            Some(stored) => stored.weights.read(name, shape)?,
            // a reward head that the base has already is trained on
            None if name == PEFT_SCORE && weights.shape(SCORE).is_some() => {
                weights.read(SCORE, shape)?
            }
            None => adapter::initialise(name, shape, seed),
        };
        params.insert(name.clone(), place(name, shape, values, &bank, placement)?);
    }
    let decoder = Decoder::assemble(config, &params, lora.as_ref())?;
    Ok(Loaded {
        decoder,
        bank,
        config_json,
        base,
        lora,
    })
}

/// The base's parameters, checked against what the files hold so that a missing or misshapen tensor is found before any is read.
fn base_parameters(config: &DecoderConfig, weights: &Weights) -> Result<Vec<ParameterSpec>> {
    let specs = config.parameters();
    for (name, shape, _) in &specs {
        match weights.shape(name) {
            Some(found) if found == shape => {}
            Some(found) => {
                return Err(Error::model(format!(
                    "tensor {name} has shape {found:?}, but config.json asks for {shape:?}"
                )));
            }
            None if name == SCORE => {} // a fresh head
            None => return Err(Error::model(format!("tensor {name} is missing"))),
        }
    }
    Ok(specs)
}

/// Puts values into the bank if the parameter is trained, else into a tensor of their own.
fn place(
    name: &str,
    shape: &[usize],
    values: Vec<f32>,
    bank: &Bank,
    placement: &Placement,
) -> Result<Param> {
    match bank.slot(name) {
        None => {
            // Vectors (norms, biases) are few, and are computed with in f32.
            let dtype = match shape.len() {
                0 | 1 => Dtype::F32,
                _ => placement.dtype(),
            };
            Ok(Param {
                array: Array::from_vec(placement.device(), dtype, values, shape)?,
                master: None,
                slot: None,
            })
        }
        Some(slot) => {
            let (array, master) = bank.view(slot)?;
            array.write(&values)?;
            if let Some(master) = &master {
                master.write(&values)?;
            }
            Ok(Param {
                array,
                master,
                slot: Some(slot),
            })
        }
    }
}

fn describe(lora: &LoraConfig) -> String {
    format!(
        "rank {}, alpha {}, modules {}",
        lora.rank,
        lora.alpha,
        lora.target_modules.join("+")
    )
}
