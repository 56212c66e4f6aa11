//! One entry at a time, as the formula says.

use crate::float::Float;

/// logps (M), lse (M) and u (M, D) = W\[y\] − softmax·W, the gradient of a log-probability by its hidden state.
pub fn forward<T: Float>(
    hidden: &[T],
    w: &[T],
    d: usize,
    rows: &[u32],
    targets: &[u32],
    logps: &mut [T],
    lse: &mut [T],
    u: &mut [T],
) {
    for m in 0..rows.len() {
        let h = &hidden[rows[m] as usize * d..][..d];
        let z = logits(h, w);
        let y = targets[m] as usize;
        lse[m] = log_sum_exp(&z);
        logps[m] = z[y] - lse[m];
        let u = &mut u[m * d..(m + 1) * d];
        u.copy_from_slice(&w[y * d..(y + 1) * d]);
        for (z, w) in z.iter().zip(w.chunks_exact(d)) {
            let p = (*z - lse[m]).exp();
            for (u, &w) in u.iter_mut().zip(w) {
                *u += -(p * w);
            }
        }
    }
}

/// ln Σ_v p_v² (M).
pub fn log_collisions<T: Float>(hidden: &[T], w: &[T], d: usize, rows: &[u32], out: &mut [T]) {
    for (out, &row) in out.iter_mut().zip(rows) {
        let z = logits(&hidden[row as usize * d..][..d], w);
        let twice: Vec<T> = z.iter().map(|&z| z + z).collect();
        let total = log_sum_exp(&z);
        *out = log_sum_exp(&twice) - total - total;
    }
}

/// dhidden (N, D) += and dw (V, D) +=.
pub fn backward<T: Float>(
    hidden: &[T],
    w: &[T],
    d: usize,
    rows: &[u32],
    targets: &[u32],
    dlogps: &[T],
    dhidden: &mut [T],
    dw: &mut [T],
) {
    for m in 0..rows.len() {
        let row = rows[m] as usize * d;
        let h = &hidden[row..row + d];
        let z = logits(h, w);
        let total = log_sum_exp(&z);
        for (j, &z) in z.iter().enumerate() {
            let hit = if j == targets[m] as usize {
                T::ONE
            } else {
                T::ZERO
            };
            let dz = dlogps[m] * (hit - (z - total).exp());
            for i in 0..d {
                dhidden[row + i] += dz * w[j * d + i];
                dw[j * d + i] += dz * h[i];
            }
        }
    }
}

fn logits<T: Float>(h: &[T], w: &[T]) -> Vec<T> {
    let dot = |w: &[T]| {
        let mut sum = T::ZERO;
        for (&a, &b) in h.iter().zip(w) {
            sum += a * b;
        }
        sum
    };
    w.chunks_exact(h.len()).map(dot).collect()
}

fn log_sum_exp<T: Float>(z: &[T]) -> T {
    let max = z
        .iter()
        .fold(T::NEG_INFINITY, |m, &x| if x > m { x } else { m });
    let mut sum = T::ZERO;
    for &x in z {
        sum += (x - max).exp();
    }
    max + sum.ln()
}
