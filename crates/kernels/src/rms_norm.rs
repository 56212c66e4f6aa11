//! RMS norm, y = w · x / rms(x), as in Llama: the statistic in f32, the weight after the division.

use crate::Error;
use crate::error::length;
use crate::float::Float;
use crate::simd::{Kernel, dispatch, dot, mul_add};
use rayon::prelude::*;

/// Rows of one task, and of one partial sum of `dw`: fixed, so that the result does not depend on scheduling.
const ROWS: usize = 64;

/// y (n, d) and rstd (n) = 1/√(mean(x²) + eps) from x (n, d) and w (d).
///
/// # Errors
/// A slice of another length.
pub fn forward(
    x: &[f32],
    w: &[f32],
    eps: f32,
    y: &mut [f32],
    rstd: &mut [f32],
    n: usize,
    d: usize,
) -> Result<(), Error> {
    let op = "rms_norm::forward";
    length(op, "x", x.len(), n * d)?;
    length(op, "w", w.len(), d)?;
    length(op, "y", y.len(), n * d)?;
    length(op, "rstd", rstd.len(), n)?;
    if n * d == 0 {
        return Ok(());
    }
    x.par_chunks(ROWS * d)
        .zip(y.par_chunks_mut(ROWS * d))
        .zip(rstd.par_chunks_mut(ROWS))
        .for_each(|((x, y), rstd)| dispatch(Forward { x, w, eps, y, rstd }));
    Ok(())
}

/// dx (n, d) += and, if asked for, dw (d) +=, from what [`forward`] read and gave.
///
/// With x̂ = x·rstd and g = dy·w: dx = rstd·(g − x̂·mean(g·x̂)), dw = Σ dy·x̂.
///
/// # Errors
/// A slice of another length.
pub fn backward(
    x: &[f32],
    w: &[f32],
    rstd: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dw: Option<&mut [f32]>,
    n: usize,
    d: usize,
) -> Result<(), Error> {
    let op = "rms_norm::backward";
    length(op, "x", x.len(), n * d)?;
    length(op, "w", w.len(), d)?;
    length(op, "rstd", rstd.len(), n)?;
    length(op, "dy", dy.len(), n * d)?;
    length(op, "dx", dx.len(), n * d)?;
    if let Some(dw) = &dw {
        length(op, "dw", dw.len(), d)?;
    }
    if n * d == 0 {
        return Ok(());
    }
    // One row of partial sums per task, added in order below.
    let mut partial = vec![
        0.0;
        if dw.is_some() {
            n.div_ceil(ROWS) * d
        } else {
            0
        }
    ];
    let tasks = x
        .par_chunks(ROWS * d)
        .zip(dy.par_chunks(ROWS * d))
        .zip(rstd.par_chunks(ROWS))
        .zip(dx.par_chunks_mut(ROWS * d));
    let task = |x, dy, rstd, dx, dw| {
        dispatch(Backward {
            x,
            w,
            rstd,
            dy,
            dx,
            dw,
        });
    };
    if dw.is_some() {
        tasks
            .zip(partial.par_chunks_mut(d))
            .for_each(|((((x, dy), rstd), dx), dw)| task(x, dy, rstd, dx, Some(dw)));
    } else {
        tasks.for_each(|(((x, dy), rstd), dx)| task(x, dy, rstd, dx, None));
    }
    if let Some(dw) = dw {
        for part in partial.chunks(d) {
            for (dw, p) in dw.iter_mut().zip(part) {
                *dw += p;
            }
        }
    }
    Ok(())
}

struct Forward<'a> {
    x: &'a [f32],
    w: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
    rstd: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let d = self.w.len();
        for ((x, y), rstd) in self
            .x
            .chunks_exact(d)
            .zip(self.y.chunks_exact_mut(d))
            .zip(self.rstd)
        {
            let r = 1.0 / (dot::<FMA>(x, x) / d as f32 + self.eps).sqrt();
            *rstd = r;
            for ((y, x), w) in y.iter_mut().zip(x).zip(self.w) {
                *y = w * (x * r);
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    w: &'a [f32],
    rstd: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    dw: Option<&'a mut [f32]>,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let d = self.w.len();
        let mut g = vec![0.0; d];
        for (((x, dy), &r), dx) in self
            .x
            .chunks_exact(d)
            .zip(self.dy.chunks_exact(d))
            .zip(self.rstd)
            .zip(self.dx.chunks_exact_mut(d))
        {
            for ((g, dy), w) in g.iter_mut().zip(dy).zip(self.w) {
                *g = dy * w;
            }
            let mean = dot::<FMA>(&g, x) * r / d as f32;
            for ((dx, g), x) in dx.iter_mut().zip(&g).zip(x) {
                *dx = mul_add::<FMA>(r, mul_add::<FMA>(-mean * r, *x, *g), *dx);
            }
            if let Some(dw) = self.dw.as_deref_mut() {
                for ((dw, dy), x) in dw.iter_mut().zip(dy).zip(x) {
                    *dw = mul_add::<FMA>(*dy, x * r, *dw);
                }
            }
        }
    }
}

/// The textbook forms, for one row.
pub mod naive {
    use super::Float;

    /// y (d) and rstd from x (d), w (d).
    pub fn forward<T: Float>(x: &[T], w: &[T], eps: T, y: &mut [T]) -> T {
        let mut sum = T::ZERO;
        for &x in x {
            sum += x * x;
        }
        let rstd = T::ONE / (sum / T::from_f64(x.len() as f64) + eps).sqrt();
        for i in 0..x.len() {
            y[i] = x[i] * rstd * w[i];
        }
        rstd
    }

    /// dx (d) += and dw (d) +=.
    pub fn backward<T: Float>(x: &[T], w: &[T], rstd: T, dy: &[T], dx: &mut [T], dw: &mut [T]) {
        let mut mean = T::ZERO;
        for i in 0..x.len() {
            mean += dy[i] * w[i] * x[i] * rstd / T::from_f64(x.len() as f64);
        }
        for i in 0..x.len() {
            dx[i] += rstd * (dy[i] * w[i] - x[i] * rstd * mean);
            dw[i] += dy[i] * x[i] * rstd;
        }
    }
}
