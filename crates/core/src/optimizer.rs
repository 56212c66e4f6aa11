//! Clipping and AdamW over the whole bank.

use halo_kernels::optim::AdamW;

use crate::array::Array;
use crate::bank::Bank;
use crate::ops::optim::{self, Update};
use crate::{Error, Result};

/// AdamW's numbers, under Hugging Face's names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OptimizerConfig {
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

/// AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101) with its two moments, flat as the bank is.
pub(crate) struct Optimizer {
    config: OptimizerConfig,
    pub(crate) exp_avg: Array,
    pub(crate) exp_avg_sq: Array,
}

impl Optimizer {
    pub(crate) fn new(config: OptimizerConfig, bank: &Bank) -> Result<Optimizer> {
        let zeros = || bank.flat().0.zeros_like();
        Ok(Optimizer {
            config,
            exp_avg: zeros()?,
            exp_avg_sq: zeros()?,
        })
    }

    /// One update, number `step` counted from 1; returns the gradient's norm before clipping.
    ///
    /// # Errors
    /// A gradient that is not finite: nothing is changed.
    pub(crate) fn step(&self, bank: &Bank, learning_rate: f64, step: u64) -> Result<f64> {
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
        for (range, decay) in runs(bank) {
            let part = |flat: &Array| flat.part(range.clone(), [range.len()]);
            let update = Update {
                params: part(params)?,
                grads: part(grads)?,
                exp_avg: part(&self.exp_avg)?,
                exp_avg_sq: part(&self.exp_avg_sq)?,
                rounded: rounded.map(part).transpose()?,
            };
            optim::step(&update, step, &adamw, decay, clip as f32)?;
        }
        Ok(norm)
    }

    /// The moments, for a checkpoint.
    pub(crate) fn moments(&self) -> [(&'static str, &Array); 2] {
        [("exp_avg", &self.exp_avg), ("exp_avg_sq", &self.exp_avg_sq)]
    }

    /// Puts the moments of a checkpoint back.
    pub(crate) fn restore(&self, exp_avg: &[f32], exp_avg_sq: &[f32]) -> Result<()> {
        for (moment, stored) in [(&self.exp_avg, exp_avg), (&self.exp_avg_sq, exp_avg_sq)] {
            if moment.elem_count() != stored.len() {
                return Err(Error::state(
                    "the optimizer's state has another size than the model",
                ));
            }
            moment.write(stored)?;
        }
        Ok(())
    }
}

/// Neighbouring parameters of equal decay, as one range each.
fn runs(bank: &Bank) -> Vec<(std::ops::Range<usize>, bool)> {
    let mut runs: Vec<(std::ops::Range<usize>, bool)> = Vec::new();
    for entry in bank.entries() {
        match runs.last_mut() {
            Some((range, decay)) if *decay == entry.decay => range.end = entry.range.end,
            _ => runs.push((entry.range.clone(), entry.decay)),
        }
    }
    runs
}
