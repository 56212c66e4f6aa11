//! silu(gate) ∘ up.

use halo_kernels::{gpu, swiglu};

use crate::Result;
use crate::array::Array;

/// out = silu(gate) ∘ up, all of one shape.
pub(crate) fn forward(gate: &Array, up: &Array, out: &Array) -> Result<()> {
    match out {
        Array::Cpu(_) => out.edit(|out| Ok(swiglu::forward(&gate.values()?, &up.values()?, out)?)),
        Array::Gpu(out, _) => Ok(gpu::swiglu::forward(gate.slice()?, up.slice()?, out)?),
    }
}

/// Writes dgate and dup.
pub(crate) fn backward(
    gate: &Array,
    up: &Array,
    dout: &Array,
    dgate: &Array,
    dup: &Array,
) -> Result<()> {
    match dgate {
        Array::Cpu(_) => dgate.edit(|dgate| {
            dup.edit(|dup| {
                Ok(swiglu::backward(
                    &gate.values()?,
                    &up.values()?,
                    &dout.values()?,
                    dgate,
                    dup,
                )?)
            })
        }),
        Array::Gpu(dgate, _) => Ok(gpu::swiglu::backward(
            gate.slice()?,
            up.slice()?,
            dout.slice()?,
            dgate,
            dup.slice()?,
        )?),
    }
}
