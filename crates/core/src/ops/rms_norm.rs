//! RMS norm over rows of the weight's width.

use halo_kernels::{gpu, rms_norm};

use super::elementwise;
use crate::Result;
use crate::array::Array;

/// y = w ∘ x / √(mean x² + ε) and 1/rms of every row: x and y (…, D), w (D), rstd (rows) in f32.
pub(crate) fn forward(x: &Array, w: &Array, eps: f32, y: &Array, rstd: &Array) -> Result<()> {
    let d = w.elem_count();
    let n = x.elem_count() / d;
    match y {
        Array::Cpu(_) => y.edit(|y| {
            rstd.edit(|rstd| {
                Ok(rms_norm::forward(
                    &x.values()?,
                    &w.values()?,
                    eps,
                    y,
                    rstd,
                    n,
                    d,
                )?)
            })
        }),
        Array::Gpu(y, _) => Ok(gpu::rms_norm::forward(
            x.slice()?,
            w.slice()?,
            eps,
            y,
            rstd.slice()?,
            n,
            d,
        )?),
    }
}

/// The residual and its norm: sum += x, then as [`forward`] of the sum, in one pass where the device has one.
pub(crate) fn forward_added(
    sum: &Array,
    x: &Array,
    w: &Array,
    eps: f32,
    y: &Array,
    rstd: &Array,
) -> Result<()> {
    let Array::Gpu(slice, _) = sum else {
        elementwise::add(sum, x)?;
        return forward(sum, w, eps, y, rstd);
    };
    let d = w.elem_count();
    let n = slice.len() / d;
    let [x, w, y, rstd] = [x.slice()?, w.slice()?, y.slice()?, rstd.slice()?];
    // An element is read before it is written, by the same thread: the sum may take its addend's place.
    Ok(gpu::rms_norm::forward_added(
        slice, x, slice, w, eps, y, rstd, n, d,
    )?)
}

/// Adds to dx, and to dw where the weight is trained.
pub(crate) fn backward(
    x: &Array,
    w: &Array,
    rstd: &Array,
    dy: &Array,
    dx: &Array,
    dw: Option<&Array>,
) -> Result<()> {
    let d = w.elem_count();
    let n = x.elem_count() / d;
    match dx {
        Array::Cpu(_) => {
            let (x, w, rstd, dy) = (x.values()?, w.values()?, rstd.values()?, dy.values()?);
            dx.edit(|dx| match dw {
                Some(dw) => {
                    dw.edit(|dw| Ok(rms_norm::backward(&x, &w, &rstd, &dy, dx, Some(dw), n, d)?))
                }
                None => Ok(rms_norm::backward(&x, &w, &rstd, &dy, dx, None, n, d)?),
            })
        }
        Array::Gpu(dx, _) => {
            let dw = dw.map(Array::slice).transpose()?;
            Ok(gpu::rms_norm::backward(
                x.slice()?,
                w.slice()?,
                rstd.slice()?,
                dy.slice()?,
                dx,
                dw,
                n,
                d,
            )?)
        }
    }
}
