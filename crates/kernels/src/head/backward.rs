use super::{check, runs};
use crate::Error;
use crate::error::{indices, length};
use crate::matmul::{linear, linear_dw, linear_dx};

/// dhidden (N, D) += dlogps·u from the vectors that [`super::forward`] stored: the backward of a frozen head.
///
/// # Errors
/// A slice of another length; a row outside dhidden.
pub fn backward_frozen(
    u: &[f32],
    dlogps: &[f32],
    rows: &[u32],
    dhidden: &mut [f32],
    d: usize,
) -> Result<(), Error> {
    let op = "head::backward_frozen";
    if d == 0 {
        return Err(Error::shape(op, "d must be at least 1"));
    }
    length(op, "u", u.len(), rows.len() * d)?;
    length(op, "dlogps", dlogps.len(), rows.len())?;
    length(op, "dhidden", dhidden.len(), dhidden.len() / d * d)?;
    indices(op, "rows", rows, dhidden.len() / d)?;
    for ((u, g), &row) in u.chunks_exact(d).zip(dlogps).zip(rows) {
        for (dh, u) in dhidden[row as usize * d..][..d].iter_mut().zip(u) {
            *dh += g * u;
        }
    }
    Ok(())
}

/// dhidden (N, D) += and dw (V, D) +=, with logits recomputed from hidden (N, D), w (V, D) and the saved lse (M).
///
/// # Errors
/// A slice of another length; a row or a target outside its table.
pub fn backward_trained(
    hidden: &[f32],
    w: &[f32],
    d: usize,
    lse: &[f32],
    rows: &[u32],
    targets: &[u32],
    dlogps: &[f32],
    dhidden: &mut [f32],
    dw: &mut [f32],
    chunk: usize,
) -> Result<(), Error> {
    let op = "head::backward_trained";
    check(op, hidden.len(), w.len(), d, rows, targets, chunk)?;
    length(op, "lse", lse.len(), rows.len())?;
    length(op, "dlogps", dlogps.len(), rows.len())?;
    length(op, "dhidden", dhidden.len(), hidden.len())?;
    length(op, "dw", dw.len(), w.len())?;
    let v = w.len() / d;
    let starts = runs(rows);
    for first in (0..starts.len() - 1).step_by(chunk) {
        let runs = &starts[first..(first + chunk + 1).min(starts.len())];
        let c = runs.len() - 1;
        let h: Vec<f32> = runs[..c]
            .iter()
            .flat_map(|&m| &hidden[rows[m] as usize * d..][..d])
            .copied()
            .collect();
        let mut z = vec![0.0; c * v];
        linear(&h, w, &mut z, c, d, v, 0.0)?;
        for (z, run) in z.chunks_exact_mut(v).zip(runs.windows(2)) {
            let g: f32 = dlogps[run[0]..run[1]].iter().sum();
            for z in z.iter_mut() {
                *z = -g * (*z - lse[run[0]]).exp();
            }
            for m in run[0]..run[1] {
                z[targets[m] as usize] += dlogps[m];
            }
        }
        let mut dh = vec![0.0; c * d];
        linear_dx(&z, w, &mut dh, c, d, v, 0.0)?;
        linear_dw(&z, &h, dw, c, d, v, 1.0)?;
        for (dh, &m) in dh.chunks_exact(d).zip(runs) {
            for (out, dh) in dhidden[rows[m] as usize * d..][..d].iter_mut().zip(dh) {
                *out += dh;
            }
        }
    }
    Ok(())
}
