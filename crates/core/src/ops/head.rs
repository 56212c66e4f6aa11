//! Log-probabilities of scored entries from hidden states and the output matrix.

use halo_kernels::{gpu, head};

use crate::array::Array;
use crate::device::Device;
use crate::{Error, Result};

/// Which rows of h score which targets, both (M): on the host, and prepared once wherever the model is.
pub(crate) struct Entries {
    rows: Vec<u32>,
    targets: Vec<u32>,
    device: Option<gpu::head::Entries>,
}

impl Entries {
    pub(crate) fn new(device: &Device, rows: Vec<u32>, targets: Vec<u32>) -> Result<Entries> {
        let device = match device {
            Device::Cpu => None,
            Device::Gpu(gpu) => Some(gpu::head::Entries::new(gpu, &rows, &targets)?),
        };
        Ok(Entries {
            rows,
            targets,
            device,
        })
    }

    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    fn device(&self) -> Result<&gpu::head::Entries> {
        let missing = || Error::internal("scored entries lie on another device");
        self.device.as_ref().ok_or_else(missing)
    }
}

/// The entries' rows of h (S, D) score their targets against w (V, D): log-probabilities and log-sum-exps (M) in f32, and
/// u = W[y] − softmax·W (M, D) if asked for.
pub(crate) fn forward(
    h: &Array,
    w: &Array,
    entries: &Entries,
    keep_gradient: bool,
) -> Result<(Array, Array, Option<Array>)> {
    let (d, m) = (w.dim(1)?, entries.rows.len());
    let (logps, lse) = (h.beside_f32([m])?, h.beside_f32([m])?);
    let u = keep_gradient.then(|| h.beside([m, d])).transpose()?;
    match h {
        Array::Cpu(_) => logps.edit(|logps| {
            lse.edit(|lse| {
                let mut score = |u: Option<&mut [f32]>| {
                    let (h, w) = (h.values()?, w.values()?);
                    Ok(head::forward(
                        &h,
                        &w,
                        d,
                        &entries.rows,
                        &entries.targets,
                        logps,
                        lse,
                        u,
                        head::CHUNK,
                    )?)
                };
                match &u {
                    Some(u) => u.edit(|u| score(Some(u))),
                    None => score(None),
                }
            })
        })?,
        Array::Gpu(h, _) => {
            let u = u.as_ref().map(Array::slice).transpose()?;
            gpu::head::forward(
                h,
                w.slice()?,
                d,
                entries.device()?,
                logps.slice()?,
                lse.slice()?,
                u,
                gpu::head::chunk(w.dim(0)?),
            )?
        }
    }
    Ok((logps, lse, u))
}

/// ln Σ_v p_v² of every entry (M), in f32.
pub(crate) fn log_collisions(
    h: &Array,
    w: &Array,
    entries: &Entries,
    lse: &Array,
) -> Result<Array> {
    let (d, out) = (w.dim(1)?, lse.like()?);
    match h {
        Array::Cpu(_) => out.edit(|out| {
            Ok(head::log_collisions(
                &h.values()?,
                &w.values()?,
                d,
                &entries.rows,
                &lse.values()?,
                out,
                head::CHUNK,
            )?)
        })?,
        Array::Gpu(h, _) => gpu::head::log_collisions(
            h,
            w.slice()?,
            d,
            entries.device()?,
            lse.slice()?,
            out.slice()?,
            gpu::head::chunk(w.dim(0)?),
        )?,
    }
    Ok(out)
}

/// dh (S, D) += of a frozen head, from the u that [`forward`] kept; dlogps (M) in f32.
pub(crate) fn backward_frozen(
    u: &Array,
    dlogps: &Array,
    entries: &Entries,
    dh: &Array,
) -> Result<()> {
    let d = dh.dim(1)?;
    match dh {
        Array::Cpu(_) => dh.edit(|dh| {
            Ok(head::backward_frozen(
                &u.values()?,
                &dlogps.values()?,
                &entries.rows,
                dh,
                d,
            )?)
        }),
        Array::Gpu(dh, _) => Ok(gpu::head::backward_frozen(
            u.slice()?,
            dlogps.slice()?,
            entries.device()?,
            dh,
            d,
        )?),
    }
}

/// dh (S, D) += and dw (V, D) += of a trained head, whose logits are computed again.
pub(crate) fn backward_trained(
    h: &Array,
    w: &Array,
    lse: &Array,
    entries: &Entries,
    dlogps: &Array,
    dh: &Array,
    dw: &Array,
) -> Result<()> {
    let d = w.dim(1)?;
    match dh {
        Array::Cpu(_) => dh.edit(|dh| {
            dw.edit(|dw| {
                Ok(head::backward_trained(
                    &h.values()?,
                    &w.values()?,
                    d,
                    &lse.values()?,
                    &entries.rows,
                    &entries.targets,
                    &dlogps.values()?,
                    dh,
                    dw,
                    head::CHUNK,
                )?)
            })
        }),
        Array::Gpu(dh, _) => Ok(gpu::head::backward_trained(
            h.slice()?,
            w.slice()?,
            d,
            lse.slice()?,
            entries.device()?,
            dlogps.slice()?,
            dh,
            dw.slice()?,
            gpu::head::chunk(w.dim(0)?),
        )?),
    }
}
