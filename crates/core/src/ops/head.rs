//! Log-probabilities of scored entries from hidden states and the output matrix.

use halo_kernels::gpu;
use halo_kernels::gpu::head::Entries;
use halo_kernels::head;

use super::Indices;
use crate::Result;
use crate::array::Array;

/// Rows `rows` of h (S, D) score `targets`, both (M), against w (V, D): log-probabilities and log-sum-exps (M) in f32, and
/// u = W[y] − softmax·W (M, D) if asked for.
pub(crate) fn forward(
    h: &Array,
    w: &Array,
    rows: &Indices,
    targets: &Indices,
    keep_gradient: bool,
) -> Result<(Array, Array, Option<Array>)> {
    let (d, m) = (w.dim(1)?, rows.len());
    let (logps, lse) = (h.beside_f32([m])?, h.beside_f32([m])?);
    let u = keep_gradient.then(|| h.beside([m, d])).transpose()?;
    match h {
        Array::Cpu(_) => logps.edit(|logps| {
            lse.edit(|lse| {
                let mut score = |u: Option<&mut [f32]>| {
                    let (h, w) = (h.values()?, w.values()?);
                    let (rows, targets) = (rows.host(), targets.host());
                    Ok(head::forward(
                        &h,
                        &w,
                        d,
                        rows,
                        targets,
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
            let entries = Entries::new(h.gpu(), rows.host(), targets.host())?;
            let u = u.as_ref().map(Array::slice).transpose()?;
            gpu::head::forward(
                h,
                w.slice()?,
                d,
                &entries,
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
pub(crate) fn log_collisions(h: &Array, w: &Array, rows: &Indices, lse: &Array) -> Result<Array> {
    let (d, out) = (w.dim(1)?, lse.like()?);
    match h {
        Array::Cpu(_) => out.edit(|out| {
            Ok(head::log_collisions(
                &h.values()?,
                &w.values()?,
                d,
                rows.host(),
                &lse.values()?,
                out,
                head::CHUNK,
            )?)
        })?,
        Array::Gpu(h, _) => {
            let entries = Entries::new(h.gpu(), rows.host(), rows.host())?;
            gpu::head::log_collisions(
                h,
                w.slice()?,
                d,
                &entries,
                lse.slice()?,
                out.slice()?,
                gpu::head::chunk(w.dim(0)?),
            )?
        }
    }
    Ok(out)
}

/// dh (S, D) += of a frozen head, from the u that [`forward`] kept; dlogps (M) in f32.
pub(crate) fn backward_frozen(u: &Array, dlogps: &Array, rows: &Indices, dh: &Array) -> Result<()> {
    let d = dh.dim(1)?;
    match dh {
        Array::Cpu(_) => dh.edit(|dh| {
            Ok(head::backward_frozen(
                &u.values()?,
                &dlogps.values()?,
                rows.host(),
                dh,
                d,
            )?)
        }),
        Array::Gpu(dh, _) => {
            let entries = Entries::new(dh.gpu(), rows.host(), rows.host())?;
            Ok(gpu::head::backward_frozen(
                u.slice()?,
                dlogps.slice()?,
                &entries,
                dh,
                d,
            )?)
        }
    }
}

/// dh (S, D) += and dw (V, D) += of a trained head, whose logits are computed again.
pub(crate) fn backward_trained(
    h: &Array,
    w: &Array,
    lse: &Array,
    [rows, targets]: [&Indices; 2],
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
                    rows.host(),
                    targets.host(),
                    &dlogps.values()?,
                    dh,
                    dw,
                    head::CHUNK,
                )?)
            })
        }),
        Array::Gpu(dh, _) => {
            let entries = Entries::new(dh.gpu(), rows.host(), targets.host())?;
            Ok(gpu::head::backward_trained(
                h.slice()?,
                w.slice()?,
                d,
                lse.slice()?,
                &entries,
                dlogps.slice()?,
                dh,
                dw.slice()?,
                gpu::head::chunk(w.dim(0)?),
            )?)
        }
    }
}
