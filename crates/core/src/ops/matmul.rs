//! The products of a linear layer, and its bias.

use halo_kernels::{bias, gpu, matmul};

use crate::Result;
use crate::array::Array;

/// y = beta·y + x·wᵀ: x (N, I), w (O, I), y (N, O).
pub(crate) fn linear(x: &Array, w: &Array, y: &Array, beta: f32) -> Result<()> {
    let ((n, i), o) = (x.dims2()?, w.dim(0)?);
    match y {
        Array::Cpu(_) => y.edit(|y| {
            Ok(matmul::linear(
                &x.values()?,
                &w.values()?,
                y,
                n,
                i,
                o,
                beta,
            )?)
        }),
        Array::Gpu(y, _) => Ok(gpu::matmul::linear(
            x.slice()?,
            w.slice()?,
            y,
            n,
            i,
            o,
            1.0,
            beta,
        )?),
    }
}

/// x·wᵀ on the host, in f32: x (N, I), w (O, I) → (N, O). On the CPU it is computed in place, without a copy.
pub(crate) fn linear_on_host(x: &Array, w: &Array) -> Result<Vec<f32>> {
    let ((n, i), o) = (x.dims2()?, w.dim(0)?);
    match x {
        Array::Cpu(_) => {
            let mut y = vec![0f32; n * o];
            matmul::linear(&x.values()?, &w.values()?, &mut y, n, i, o, 0.0)?;
            Ok(y)
        }
        Array::Gpu(x, _) => {
            let y = x.gpu().alloc(gpu::Dtype::F32, n * o)?;
            gpu::matmul::linear(x, w.slice()?, &y, n, i, o, 1.0, 0.0)?;
            Ok(y.download()?)
        }
    }
}

/// dx = beta·dx + dy·w: dy (N, O), w (O, I), dx (N, I).
pub(crate) fn linear_dx(dy: &Array, w: &Array, dx: &Array, beta: f32) -> Result<()> {
    let ((n, o), i) = (dy.dims2()?, w.dim(1)?);
    match dx {
        Array::Cpu(_) => dx.edit(|dx| {
            Ok(matmul::linear_dx(
                &dy.values()?,
                &w.values()?,
                dx,
                n,
                i,
                o,
                beta,
            )?)
        }),
        Array::Gpu(dx, _) => Ok(gpu::matmul::linear_dx(
            dy.slice()?,
            w.slice()?,
            dx,
            n,
            i,
            o,
            1.0,
            beta,
        )?),
    }
}

/// dw += dyᵀ·x: dy (N, O), x (N, I), dw (O, I) in f32.
pub(crate) fn linear_dw(dy: &Array, x: &Array, dw: &Array) -> Result<()> {
    let ((n, o), i) = (dy.dims2()?, x.dim(1)?);
    match dw {
        Array::Cpu(_) => dw.edit(|dw| {
            Ok(matmul::linear_dw(
                &dy.values()?,
                &x.values()?,
                dw,
                n,
                i,
                o,
                1.0,
            )?)
        }),
        Array::Gpu(dw, _) => Ok(gpu::matmul::linear_dw(
            dy.slice()?,
            x.slice()?,
            dw,
            n,
            i,
            o,
            1.0,
        )?),
    }
}

/// y += b on every row: y (N, O), b (O).
pub(crate) fn add_bias(y: &Array, b: &Array) -> Result<()> {
    let (n, o) = y.dims2()?;
    match y {
        Array::Cpu(_) => y.edit(|y| Ok(bias::add(y, &b.values()?, n, o)?)),
        Array::Gpu(y, _) => Ok(gpu::bias::add(y, b.slice()?, n, o)?),
    }
}

/// db += Σ rows of dy: dy (N, O), db (O) in f32.
pub(crate) fn accumulate_bias(dy: &Array, db: &Array) -> Result<()> {
    let (n, o) = dy.dims2()?;
    match db {
        Array::Cpu(_) => db.edit(|db| Ok(bias::accumulate(&dy.values()?, db, n, o)?)),
        Array::Gpu(db, _) => Ok(gpu::bias::accumulate(dy.slice()?, db, n, o)?),
    }
}
