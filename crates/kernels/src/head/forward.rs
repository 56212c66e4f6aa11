use super::{check, runs};
use crate::Error;
use crate::error::length;
use crate::matmul::{linear, linear_dx};

/// logps (M) and lse (M), in nats, from hidden (N, D) and w (V, D); for a frozen head also `stored` (M, D) =
/// W\[y\] − softmax·W, so that [`super::backward_frozen`] needs no matrix product.
///
/// # Errors
/// A slice of another length; a row or a target outside its table.
pub fn forward(
    hidden: &[f32],
    w: &[f32],
    d: usize,
    rows: &[u32],
    targets: &[u32],
    logps: &mut [f32],
    lse: &mut [f32],
    mut stored: Option<&mut [f32]>,
    chunk: usize,
) -> Result<(), Error> {
    let op = "head::forward";
    check(op, hidden.len(), w.len(), d, rows, targets, chunk)?;
    length(op, "logps", logps.len(), rows.len())?;
    length(op, "lse", lse.len(), rows.len())?;
    if let Some(stored) = &stored {
        length(op, "stored", stored.len(), rows.len() * d)?;
    }
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
            let max = z.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x));
            let sum: f64 = z.iter().map(|&x| f64::from((x - max).exp())).sum();
            let total = f64::from(max) + sum.ln();
            for m in run[0]..run[1] {
                lse[m] = total as f32;
                logps[m] = (f64::from(z[targets[m] as usize]) - total) as f32;
            }
            for z in z {
                *z = (*z - total as f32).exp();
            }
        }
        if let Some(stored) = &mut stored {
            let mut pw = vec![0.0; c * d];
            linear_dx(&z, w, &mut pw, c, d, v, 0.0)?;
            for (pw, run) in pw.chunks_exact(d).zip(runs.windows(2)) {
                for m in run[0]..run[1] {
                    let y = targets[m] as usize * d;
                    for i in 0..d {
                        stored[m * d + i] = w[y + i] - pw[i];
                    }
                }
            }
        }
    }
    Ok(())
}
