//! The optimiser over flat arrays.

use halo_kernels::gpu;
use halo_kernels::optim::{self, AdamW};

use crate::Result;
use crate::array::Array;

/// Σ x², in f64.
pub(crate) fn sum_squares(x: &Array) -> Result<f64> {
    match x {
        Array::Cpu(_) => Ok(optim::sum_squares(&x.values()?)),
        Array::Gpu(x, _) => Ok(gpu::optim::sum_squares(x)?),
    }
}

/// What one update of AdamW reads and writes, all flat and of one length.
pub(crate) struct Update {
    pub(crate) params: Array,
    pub(crate) grads: Array,
    pub(crate) exp_avg: Array,
    pub(crate) exp_avg_sq: Array,
    /// Where the model computes with rounded parameters: those.
    pub(crate) rounded: Option<Array>,
}

/// One AdamW update, number `t` counted from 1, with gradients scaled.
pub(crate) fn step(on: &Update, t: u64, adamw: &AdamW, decay: bool, grad_scale: f32) -> Result<()> {
    match &on.params {
        Array::Cpu(_) => {
            let grads = on.grads.values()?;
            on.params.edit(|params| {
                on.exp_avg.edit(|m| {
                    on.exp_avg_sq.edit(|v| {
                        Ok(optim::step(
                            params, &grads, m, v, t, adamw, decay, grad_scale,
                        )?)
                    })
                })
            })
        }
        Array::Gpu(params, _) => {
            let rounded = on.rounded.as_ref().map(Array::slice).transpose()?;
            let (m, v) = (on.exp_avg.slice()?, on.exp_avg_sq.slice()?);
            Ok(gpu::optim::step(
                params,
                on.grads.slice()?,
                m,
                v,
                rounded,
                t,
                adamw,
                decay,
                grad_scale,
            )?)
        }
    }
}
