//! LoRA (Hu et al. 2021, arXiv 2106.09685): W + (α/r)·B·A, with W frozen and shared.

use halo_train::Rng;
use serde::{Deserialize, Serialize};

use super::config::{DecoderConfig, LINEARS, ParameterSpec, SCORE};
use super::linear::Param;
use crate::array::Array;
use crate::bank::Bank;
use crate::ops::{elementwise, matmul};
use crate::{Error, Result};

/// The linear layers that a decoder block has, as PEFT names them.
fn modules() -> [&'static str; 7] {
    LINEARS.map(last_part)
}

/// `q_proj` of `self_attn.q_proj`.
fn last_part(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// Which low-rank adapters to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank r of the update.
    pub rank: usize,
    /// α: the update is scaled by α/r.
    pub alpha: f64,
    /// Linear layers that get an adapter (`q_proj`, `k_proj`, `v_proj`, `o_proj`, `gate_proj`, `up_proj`, `down_proj`).
    pub target_modules: Vec<String>,
    /// Blocks that get adapters; all if absent.
    #[serde(default)]
    pub layers: Option<Vec<usize>>,
}

impl LoraConfig {
    /// Adapters of the given rank on every linear layer of every block.
    pub fn all_linear(rank: usize, alpha: f64) -> LoraConfig {
        LoraConfig {
            rank,
            alpha,
            target_modules: modules().map(String::from).to_vec(),
            layers: None,
        }
    }

    /// The same with its modules and blocks in order: PEFT keeps them as sets.
    pub(crate) fn ordered(mut self) -> LoraConfig {
        self.target_modules.sort();
        self.layers
            .iter_mut()
            .for_each(|layers| layers.sort_unstable());
        self
    }

    /// α/r.
    pub(crate) fn scale(&self) -> f32 {
        (self.alpha / self.rank as f64) as f32
    }

    /// # Errors
    /// A rank of zero, an unknown module (the known ones are listed), or a block that the model does not have.
    pub(crate) fn check(&self, config: &DecoderConfig) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::parameter("lora rank = 0; allowed: 1 or more"));
        }
        if self.target_modules.is_empty() {
            return Err(Error::parameter("lora target_modules is empty"));
        }
        for module in &self.target_modules {
            if !modules().contains(&module.as_str()) {
                return Err(Error::parameter(format!(
                    "unknown lora target module \"{module}\"; known: {}",
                    modules().join(", ")
                )));
            }
        }
        match self
            .layers
            .iter()
            .flatten()
            .find(|l| **l >= config.num_hidden_layers)
        {
            None => Ok(()),
            Some(layer) => Err(Error::parameter(format!(
                "lora layer {layer} does not exist; allowed: 0 to {}",
                config.num_hidden_layers - 1
            ))),
        }
    }

    /// Whether the weight `model.layers.L.….MODULE.weight` gets an adapter.
    fn targets(&self, weight: &str) -> bool {
        let Some((layer, module)) = block_module(weight) else {
            return false;
        };
        self.target_modules.iter().any(|target| target == module)
            && self
                .layers
                .as_ref()
                .is_none_or(|layers| layers.contains(&layer))
    }

    /// The adapters' parameters for a model of this configuration, under PEFT's names.
    pub(crate) fn parameters(&self, config: &DecoderConfig) -> Vec<ParameterSpec> {
        let mut specs = Vec::new();
        for (name, shape, _) in config.parameters() {
            if self.targets(&name) {
                let [a, b] = peft_names(&name);
                specs.push((a, vec![self.rank, shape[1]], true));
                specs.push((b, vec![shape[0], self.rank], true));
            }
        }
        if config.score_head {
            specs.push((PEFT_SCORE.into(), vec![1, config.hidden_size], true));
        }
        specs
    }
}

/// PEFT's name for a reward head that is trained beside adapters.
pub(crate) const PEFT_SCORE: &str = "base_model.model.score.weight";

/// PEFT's names for the two halves of a weight's adapter.
pub(crate) fn peft_names(weight: &str) -> [String; 2] {
    let stem = weight.strip_suffix(".weight").unwrap_or(weight);
    ["A", "B"].map(|half| format!("base_model.model.{stem}.lora_{half}.weight"))
}

/// PEFT's starting point: A uniform in ±1/√I (Kaiming with a = √5), B zero; transformers' of a reward head: N(0, 0.02²).
pub(crate) fn initialise(name: &str, shape: &[usize], seed: u64) -> Vec<f32> {
    let mut values = vec![0f32; shape.iter().product()];
    let stream = name.bytes().fold(0u64, |hash, byte| {
        hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
    });
    let mut rng = Rng::new(seed).fork(stream);
    if name.ends_with("lora_A.weight") {
        let bound = 1.0 / (shape[1] as f64).sqrt();
        values
            .iter_mut()
            .for_each(|value| *value = ((2.0 * rng.uniform() - 1.0) * bound) as f32);
    } else if name.ends_with(SCORE) {
        values
            .iter_mut()
            .for_each(|value| *value = (0.02 * rng.normal()) as f32);
    }
    values
}

fn block_module(weight: &str) -> Option<(usize, &str)> {
    let rest = weight.strip_prefix("model.layers.")?;
    let (layer, rest) = rest.split_once('.')?;
    let module = last_part(rest.strip_suffix(".weight")?);
    Some((layer.parse().ok()?, module))
}

/// The two halves of one adapter: A (R, I), B (O, R).
#[derive(Debug)]
pub(crate) struct Adapter {
    pub(crate) a: Param,
    pub(crate) b: Param,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
}

impl Adapter {
    /// s·x·Aᵀ: x (N, I) → (N, R).
    pub(crate) fn down(&self, x: &Array) -> Result<Array> {
        let t = x.beside([x.dim(0)?, self.rank])?;
        matmul::linear(x, &self.a.array, &t, 0.0)?;
        elementwise::scale(&t, self.scale)?;
        Ok(t)
    }

    /// dB += dyᵀ(s·x·Aᵀ); with dt = s·dy·B: dA += dtᵀx, dx += dt·A.
    pub(crate) fn backward(&self, x: &Array, dy: &Array, dx: &Array, bank: &Bank) -> Result<()> {
        if let Some(slot) = self.b.slot {
            matmul::linear_dw(dy, &self.down(x)?, &bank.gradient(slot)?)?;
        }
        let dt = x.beside([x.dim(0)?, self.rank])?;
        matmul::linear_dx(dy, &self.b.array, &dt, 0.0)?;
        elementwise::scale(&dt, self.scale)?;
        if let Some(slot) = self.a.slot {
            matmul::linear_dw(&dt, x, &bank.gradient(slot)?)?;
        }
        matmul::linear_dx(&dt, &self.a.array, dx, 1.0)
    }

    /// W + s·B·A, for export, on the host: W (O, I).
    pub(crate) fn merge_into(&self, weight: &mut [f32], o: usize, i: usize) -> Result<()> {
        let scaled: Vec<f32> = self
            .b
            .stored()
            .host()?
            .iter()
            .map(|b| b * self.scale)
            .collect();
        let a = self.a.stored().host()?;
        // W(o,i) += Σ_r b(o,r)·a(r,i): the product that linear_dx computes.
        Ok(halo_kernels::matmul::linear_dx(
            &scaled, &a, weight, o, i, self.rank, 1.0,
        )?)
    }

    pub(crate) fn frozen(&self) -> Result<Adapter> {
        Ok(Adapter {
            a: self.a.frozen()?,
            b: self.b.frozen()?,
            rank: self.rank,
            scale: self.scale,
        })
    }
}
