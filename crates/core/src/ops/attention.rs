//! Attention over a pack's segments.

use std::sync::OnceLock;

use halo_kernels::attention::{self, Shape};
use halo_kernels::gpu;

use crate::array::Array;
use crate::device::Device;
use crate::{Error, Result};

/// Who attends to whom, on the host and, planned into tiles, wherever the model is.
pub(crate) struct Layout {
    host: attention::Layout,
    device: Device,
    /// Made at its first use, which knows the heads; every block then has the same.
    plan: OnceLock<gpu::attention::Plan>,
}

impl Layout {
    pub(crate) fn new(device: &Device, host: attention::Layout) -> Layout {
        Layout {
            host,
            device: device.clone(),
            plan: OnceLock::new(),
        }
    }

    fn plan(&self, shape: &Shape) -> Result<&gpu::attention::Plan> {
        let Device::Gpu(gpu) = &self.device else {
            return Err(Error::internal("a layout lies on another device"));
        };
        if let Some(plan) = self.plan.get() {
            return Ok(plan);
        }
        let plan = gpu::attention::Plan::new(gpu, &self.host, shape)?;
        Ok(self.plan.get_or_init(|| plan))
    }

    /// Keeps the first so many segments.
    pub(crate) fn truncate(&mut self, segments: usize) {
        self.host.segments.truncate(segments);
        self.plan = OnceLock::new();
    }
}

/// q (N, H·E), k and v (N, K·E) → o (N, H·E), and the log-sum-exp (N, H) in f32.
pub(crate) fn forward(
    q: &Array,
    k: &Array,
    v: &Array,
    layout: &Layout,
    shape: &Shape,
) -> Result<(Array, Array)> {
    let (o, lse) = (q.like()?, q.beside_f32([q.dim(0)?, shape.heads])?);
    match &o {
        Array::Cpu(_) => o.edit(|o| {
            lse.edit(|lse| {
                Ok(attention::forward(
                    &q.values()?,
                    &k.values()?,
                    &v.values()?,
                    o,
                    lse,
                    &layout.host,
                    shape,
                )?)
            })
        })?,
        Array::Gpu(o, _) => gpu::attention::forward(
            q.slice()?,
            k.slice()?,
            v.slice()?,
            o,
            lse.slice()?,
            layout.plan(shape)?,
            shape,
        )?,
    }
    Ok((o, lse))
}

/// The gradients of q, k and v, from what [`forward`] read and gave and the gradient of its output.
pub(crate) fn backward(
    [q, k, v]: [&Array; 3],
    o: &Array,
    lse: &Array,
    d_o: &Array,
    layout: &Layout,
    shape: &Shape,
) -> Result<[Array; 3]> {
    let [dq, dk, dv] = [q.like()?, k.like()?, v.like()?];
    match o {
        Array::Cpu(_) => dq.edit(|dq| {
            dk.edit(|dk| {
                dv.edit(|dv| {
                    Ok(attention::backward(
                        &q.values()?,
                        &k.values()?,
                        &v.values()?,
                        &o.values()?,
                        &lse.values()?,
                        &d_o.values()?,
                        dq,
                        dk,
                        dv,
                        &layout.host,
                        shape,
                    )?)
                })
            })
        })?,
        Array::Gpu(o, _) => gpu::attention::backward(
            q.slice()?,
            k.slice()?,
            v.slice()?,
            o,
            lse.slice()?,
            d_o.slice()?,
            dq.slice()?,
            dk.slice()?,
            dv.slice()?,
            layout.plan(shape)?,
            shape,
        )?,
    }
    Ok([dq, dk, dv])
}
