//! The optimiser over flat slices: gradient norm, scaling, AdamW.

pub mod eight_bit;

use crate::Error;
use crate::error::length;
use crate::simd::{Kernel, dispatch};
use rayon::prelude::*;

/// Elements of one task, and of one partial sum: fixed, so that the result does not depend on scheduling.
const CHUNK: usize = 16 * 1024;

/// Σ x², in f64.
pub fn sum_squares(x: &[f32]) -> f64 {
    let parts: Vec<f64> = x
        .par_chunks(CHUNK)
        .map(|x| dispatch(SumSquares { x }))
        .collect();
    parts.iter().sum()
}

/// x *= factor.
pub fn scale(x: &mut [f32], factor: f32) {
    x.par_chunks_mut(CHUNK)
        .for_each(|x| x.iter_mut().for_each(|x| *x *= factor));
}

/// AdamW's settings (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2): the decay is decoupled from the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step, the schedule included.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay; a step shrinks a parameter by lr · weight_decay.
    pub weight_decay: f64,
}

impl Default for AdamW {
    /// The defaults of `transformers`' trainer, without decay.
    fn default() -> AdamW {
        AdamW {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

/// One AdamW update of `params` in place, with gradients grads·grad_scale (the factor of clipping); `t` counts from 1.
///
/// `decay` false leaves weight decay out (norms and biases). Same arithmetic as PyTorch's: decay, moments, then
/// p −= lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + eps).
///
/// # Errors
/// Slices of different lengths; t = 0.
pub fn step(
    params: &mut [f32],
    grads: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    t: u64,
    cfg: &AdamW,
    decay: bool,
    grad_scale: f32,
) -> Result<(), Error> {
    let op = "optim::step";
    length(op, "grads", grads.len(), params.len())?;
    length(op, "m", m.len(), params.len())?;
    length(op, "v", v.len(), params.len())?;
    let update = Update::new(op, t, cfg, decay, grad_scale)?;
    params
        .par_chunks_mut(CHUNK)
        .zip(grads.par_chunks(CHUNK))
        .zip(m.par_chunks_mut(CHUNK))
        .zip(v.par_chunks_mut(CHUNK))
        .for_each(|(((params, grads), m), v)| {
            dispatch(Step {
                update,
                params,
                grads,
                m,
                v,
            });
        });
    Ok(())
}

struct SumSquares<'a> {
    x: &'a [f32],
}

impl Kernel for SumSquares<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let mut acc = [0.0f64; 16];
        let (chunks, rest) = self.x.as_chunks::<16>();
        for x in chunks {
            for l in 0..16 {
                let x = f64::from(x[l]);
                acc[l] += x * x;
            }
        }
        for (l, &x) in rest.iter().enumerate() {
            acc[l] += f64::from(x) * f64::from(x);
        }
        acc.iter().sum()
    }
}

/// The factors of one step, the same for every parameter and on every device.
#[derive(Clone, Copy)]
pub(crate) struct Update {
    pub(crate) keep: f32,
    pub(crate) beta1: f32,
    pub(crate) rest1: f32,
    pub(crate) beta2: f32,
    pub(crate) rest2: f32,
    pub(crate) step: f32,
    pub(crate) root: f32,
    pub(crate) eps: f32,
    pub(crate) grad_scale: f32,
}

impl Update {
    pub(crate) fn new(
        op: &'static str,
        t: u64,
        cfg: &AdamW,
        decay: bool,
        grad_scale: f32,
    ) -> Result<Update, Error> {
        if t == 0 {
            return Err(Error::shape(op, "t = 0; steps count from 1"));
        }
        let t = t as f64;
        let kept = 1.0 - cfg.lr * cfg.weight_decay;
        Ok(Update {
            keep: if decay { kept as f32 } else { 1.0 },
            beta1: cfg.beta1 as f32,
            rest1: (1.0 - cfg.beta1) as f32,
            beta2: cfg.beta2 as f32,
            rest2: (1.0 - cfg.beta2) as f32,
            step: (cfg.lr / (1.0 - cfg.beta1.powf(t))) as f32,
            root: (1.0 / (1.0 - cfg.beta2.powf(t)).sqrt()) as f32,
            eps: cfg.eps as f32,
            grad_scale,
        })
    }

    /// The new moments from the old ones.
    #[inline(always)]
    fn moments(&self, g: f32, m: f32, v: f32) -> (f32, f32) {
        let g = g * self.grad_scale;
        (
            m * self.beta1 + g * self.rest1,
            v * self.beta2 + g * g * self.rest2,
        )
    }

    /// The new parameter from the new moments.
    #[inline(always)]
    fn moved(&self, p: f32, m: f32, v: f32) -> f32 {
        p * self.keep - self.step * (m / (v.sqrt() * self.root + self.eps))
    }
}

struct Step<'a> {
    update: Update,
    params: &'a mut [f32],
    grads: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let u = self.update;
        for (((p, g), m), v) in self
            .params
            .iter_mut()
            .zip(self.grads)
            .zip(self.m)
            .zip(self.v)
        {
            (*m, *v) = u.moments(*g, *m, *v);
            *p = u.moved(*p, *m, *v);
        }
    }
}
