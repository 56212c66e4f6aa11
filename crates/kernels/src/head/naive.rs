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

/// What a head may do beside the product, in any precision.
#[derive(Clone, Debug)]
pub struct Form<T> {
    /// (V) of zeros, or what is added to the logits.
    pub bias: Vec<T>,
    /// Divides the logits after the cap.
    pub temperature: T,
    /// Logits become cap·tanh(x / cap).
    pub softcap: Option<T>,
}

impl<T: Float> Form<T> {
    /// The products of one hidden state with the words, and the bias.
    pub fn products(&self, h: &[T], w: &[T]) -> Vec<T> {
        let biased = |(x, &b): (T, &T)| x + b;
        logits(h, w)
            .into_iter()
            .zip(&self.bias)
            .map(biased)
            .collect()
    }

    /// Log-probability of word `y`, log-sum-exp and entropy, of products x.
    pub fn score(&self, x: &[T], y: usize) -> (T, T, T) {
        let z: Vec<T> = x.iter().map(|&x| self.shaped(x).0).collect();
        let lse = log_sum_exp(&z);
        let mut entropy = T::ZERO;
        for &z in &z {
            entropy += -plogp(z - lse);
        }
        (z[y] - lse, lse, entropy)
    }

    /// The gradient of dlogp·logp + dentropy·entropy by the products.
    pub fn gradient(&self, x: &[T], y: usize, dlogp: T, dentropy: T) -> Vec<T> {
        let (_, lse, entropy) = self.score(x, y);
        let by = |(j, &x): (usize, &T)| {
            let (z, slope) = self.shaped(x);
            let p = (z - lse).exp();
            let hit = if j == y { T::ONE } else { T::ZERO };
            slope * (dlogp * (hit - p) - dentropy * (plogp(z - lse) + p * entropy))
        };
        x.iter().enumerate().map(by).collect()
    }

    /// The logit of a product, and its derivative.
    fn shaped(&self, x: T) -> (T, T) {
        let Some(cap) = self.softcap else {
            return (x / self.temperature, T::ONE / self.temperature);
        };
        let two = T::ONE + T::ONE;
        let tanh = T::ONE - two / ((two * x / cap).exp() + T::ONE);
        (
            cap * tanh / self.temperature,
            (T::ONE - tanh * tanh) / self.temperature,
        )
    }
}

/// p·ln p, which is 0 where p is.
fn plogp<T: Float>(log: T) -> T {
    if log == T::NEG_INFINITY {
        return T::ZERO;
    }
    log.exp() * log
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
