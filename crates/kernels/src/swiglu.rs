//! SwiGLU: silu(gate) · up, element by element.

use crate::Error;
use crate::error::length;
use crate::exp::exp;
use crate::float::Float;
use crate::simd::{Kernel, dispatch};
use rayon::prelude::*;

/// Elements of one task.
const CHUNK: usize = 16 * 1024;

/// out = gate·σ(gate)·up; three slices of one length.
///
/// # Errors
/// Slices of different lengths.
pub fn forward(gate: &[f32], up: &[f32], out: &mut [f32]) -> Result<(), Error> {
    let op = "swiglu::forward";
    length(op, "up", up.len(), gate.len())?;
    length(op, "out", out.len(), gate.len())?;
    gate.par_chunks(CHUNK)
        .zip(up.par_chunks(CHUNK))
        .zip(out.par_chunks_mut(CHUNK))
        .for_each(|((gate, up), out)| dispatch(Forward { gate, up, out }));
    Ok(())
}

/// dgate and dup, written, from what [`forward`] read and the gradient of its output.
///
/// With s = σ(gate): dup = dout·gate·s, dgate = dout·up·s·(1 + gate·(1 − s)).
///
/// # Errors
/// Slices of different lengths.
pub fn backward(
    gate: &[f32],
    up: &[f32],
    dout: &[f32],
    dgate: &mut [f32],
    dup: &mut [f32],
) -> Result<(), Error> {
    let op = "swiglu::backward";
    length(op, "up", up.len(), gate.len())?;
    length(op, "dout", dout.len(), gate.len())?;
    length(op, "dgate", dgate.len(), gate.len())?;
    length(op, "dup", dup.len(), gate.len())?;
    gate.par_chunks(CHUNK)
        .zip(up.par_chunks(CHUNK))
        .zip(dout.par_chunks(CHUNK))
        .zip(dgate.par_chunks_mut(CHUNK))
        .zip(dup.par_chunks_mut(CHUNK))
        .for_each(|((((gate, up), dout), dgate), dup)| {
            dispatch(Backward {
                gate,
                up,
                dout,
                dgate,
                dup,
            });
        });
    Ok(())
}

struct Forward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for ((g, u), out) in self.gate.iter().zip(self.up).zip(self.out) {
            *out = g / (1.0 + exp::<FMA>(-g)) * u;
        }
    }
}

struct Backward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    dout: &'a [f32],
    dgate: &'a mut [f32],
    dup: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let n = self.gate.len();
        let (gate, up, dout) = (self.gate, &self.up[..n], &self.dout[..n]);
        let (dgate, dup) = (&mut self.dgate[..n], &mut self.dup[..n]);
        for i in 0..n {
            let s = 1.0 / (1.0 + exp::<FMA>(-gate[i]));
            dup[i] = dout[i] * gate[i] * s;
            dgate[i] = dout[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
        }
    }
}

/// The textbook forms, for one element.
pub mod naive {
    use super::Float;

    /// silu(gate) · up.
    pub fn forward<T: Float>(gate: T, up: T) -> T {
        gate / (T::ONE + (-gate).exp()) * up
    }

    /// (dgate, dup).
    pub fn backward<T: Float>(gate: T, up: T, dout: T) -> (T, T) {
        let s = T::ONE / (T::ONE + (-gate).exp());
        (
            dout * up * s * (T::ONE + gate * (T::ONE - s)),
            dout * gate * s,
        )
    }
}
