//! The optimiser over flat arrays.

mod eight_bit;

use halo_kernels::gpu;
use halo_kernels::optim::{self, AdamW};

use crate::Result;
use crate::array::Array;

pub(crate) use eight_bit::{Codes, EightBit};

/// Σ x², in f64.
pub(crate) fn sum_squares(x: &Array) -> Result<f64> {
    match x {
        Array::Cpu(_) => Ok(optim::sum_squares(&x.values()?)),
        Array::Gpu(x, _) => Ok(gpu::optim::sum_squares(x)?),
    }
}

/// What one update of AdamW reads and writes besides the moments, all flat and of one length.
pub(crate) struct Update {
    pub(crate) params: Array,
    pub(crate) grads: Array,
    /// Where the model computes with rounded parameters: those.
    pub(crate) rounded: Option<Array>,
}

/// Both moments, flat and of the update's length.
pub(crate) enum Moments {
    /// In f32: the first, and the second.
    F32([Array; 2]),
    EightBit(EightBit),
}

/// One AdamW update, number `t` counted from 1, with gradients scaled.
pub(crate) fn step(
    on: &Update,
    moments: &mut Moments,
    t: u64,
    adamw: &AdamW,
    decay: bool,
    grad_scale: f32,
) -> Result<()> {
    let [m, v] = match moments {
        Moments::F32(moments) => moments,
        Moments::EightBit(moments) => return moments.step(on, t, adamw, decay, grad_scale),
    };
    match &on.params {
        Array::Cpu(_) => {
            let grads = on.grads.values()?;
            on.params.edit(|params| {
                m.edit(|m| {
                    v.edit(|v| {
                        Ok(optim::step(
                            params, &grads, m, v, t, adamw, decay, grad_scale,
                        )?)
                    })
                })
            })
        }
        Array::Gpu(params, _) => {
            let rounded = on.rounded.as_ref().map(Array::slice).transpose()?;
            Ok(gpu::optim::step(
                params,
                on.grads.slice()?,
                m.slice()?,
                v.slice()?,
                rounded,
                t,
                adamw,
                decay,
                grad_scale,
            )?)
        }
    }
}
