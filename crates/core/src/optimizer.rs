//! Clipping and AdamW over the whole bank.

mod runs;

use std::collections::BTreeMap;

use halo_kernels::optim::AdamW;

use crate::array::Array;
use crate::bank::Bank;
use crate::ops::optim::{self, Update};
use crate::tensor_file::Content;
use crate::weights::Weights;
use crate::{Error, Result};
pub(crate) use runs::Kept;
use runs::Run;

/// In what AdamW keeps its two moments, by transformers' names without the word torch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Optim {
    /// In f32.
    #[default]
    AdamW,
    /// Those of matrices in one byte each; those of norms and biases, which are few, in f32.
    AdamW8bit,
}

impl Optim {
    pub(crate) const ALL: [Optim; 2] = [Optim::AdamW, Optim::AdamW8bit];

    /// # Errors
    /// An unknown name.
    pub(crate) fn parse(name: &str) -> Result<Optim> {
        let found = Self::ALL.into_iter().find(|optim| optim.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Optim::name).join(", ");
            Error::parameter(format!("optim = \"{name}\"; known: {known}")).with_argument("optim")
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Optim::AdamW => "adamw",
            Optim::AdamW8bit => "adamw_8bit",
        }
    }
}

/// AdamW's numbers, under Hugging Face's names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OptimizerConfig {
    /// In what the moments are kept.
    pub(crate) optim: Optim,
    /// Decay rate of the first moment.
    pub(crate) adam_beta1: f64,
    /// Decay rate of the second moment.
    pub(crate) adam_beta2: f64,
    /// Added to the root of the second moment.
    pub(crate) adam_epsilon: f64,
    /// Decoupled weight decay; not applied to norms and biases.
    pub(crate) weight_decay: f64,
    /// Gradients are scaled down to this global norm; 0 leaves them.
    pub(crate) max_grad_norm: f64,
}

/// AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101) with its two moments.
pub(crate) struct Optimizer {
    config: OptimizerConfig,
    runs: Vec<Run>,
}

impl Optimizer {
    pub(crate) fn new(config: OptimizerConfig, bank: &Bank) -> Result<Optimizer> {
        Ok(Optimizer {
            config,
            runs: runs::of(bank, config.optim)?,
        })
    }

    /// One update, number `step` counted from 1; returns the gradient's norm before clipping.
    ///
    /// # Errors
    /// A gradient that is not finite: nothing is changed.
    pub(crate) fn step(&mut self, bank: &Bank, learning_rate: f64, step: u64) -> Result<f64> {
        bank.check_touched()?;
        let (params, grads, rounded) = bank.flat();
        let norm = optim::sum_squares(grads)?.sqrt();
        if !norm.is_finite() {
            return Err(Error::state(format!(
                "step {step}: the gradient's norm is {norm}; nothing was updated. lower learning_rate, or look for broken data"
            )));
        }
        // torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm.
        let clip = match self.config.max_grad_norm {
            max if max > 0.0 => (max / (norm + 1e-6)).min(1.0),
            _ => 1.0,
        };
        let adamw = AdamW {
            lr: learning_rate,
            beta1: self.config.adam_beta1,
            beta2: self.config.adam_beta2,
            eps: self.config.adam_epsilon,
            weight_decay: self.config.weight_decay,
        };
        for run in &mut self.runs {
            let part = |flat: &Array| flat.part(run.range.clone(), [run.range.len()]);
            let update = Update {
                params: part(params)?,
                grads: part(grads)?,
                rounded: rounded.map(part).transpose()?,
            };
            let moments = &mut run.moments;
            optim::step(&update, moments, step, &adamw, run.decay, clip as f32)?;
        }
        Ok(norm)
    }

    /// The moments, for a checkpoint.
    pub(crate) fn contents<'a>(&'a self, bank: &'a Bank) -> Result<BTreeMap<String, Content<'a>>> {
        let mut all = BTreeMap::new();
        for run in &self.runs {
            run.contents(bank, &mut all)?;
        }
        Ok(all)
    }

    /// Reads the moments of a checkpoint; nothing is changed by it.
    ///
    /// # Errors
    /// Tensors that are missing or not of the bank's shapes.
    pub(crate) fn read(&self, bank: &Bank, stored: &Weights) -> Result<Vec<Kept>> {
        self.runs.iter().map(|run| run.read(bank, stored)).collect()
    }

    /// Puts them back.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn put(&mut self, kept: Vec<Kept>) -> Result<()> {
        let mut runs = self.runs.iter_mut().zip(kept);
        runs.try_for_each(|(run, kept)| run.put(kept))
    }
}
