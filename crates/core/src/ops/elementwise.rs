//! Element by element, and whole rows.

use halo_kernels::{gpu, optim};

use crate::Result;
use crate::array::Array;

/// x += y.
pub(crate) fn add(x: &Array, y: &Array) -> Result<()> {
    match x {
        Array::Cpu(_) => {
            let y = y.values()?;
            x.edit(|x| {
                x.iter_mut().zip(y.iter()).for_each(|(x, y)| *x += y);
                Ok(())
            })
        }
        Array::Gpu(x, _) => Ok(gpu::elementwise::add(x, y.slice()?)?),
    }
}

/// x *= factor.
pub(crate) fn scale(x: &Array, factor: f32) -> Result<()> {
    match x {
        Array::Cpu(_) => x.edit(|x| {
            optim::scale(x, factor);
            Ok(())
        }),
        Array::Gpu(x, _) => Ok(gpu::elementwise::scale(x, factor)?),
    }
}

/// x = share·y + (1 − share)·x, in f64.
pub(crate) fn mix(x: &Array, y: &Array, share: f64) -> Result<()> {
    match x {
        Array::Cpu(_) => {
            let y = y.values()?;
            x.edit(|x| {
                for (x, y) in x.iter_mut().zip(y.iter()) {
                    *x = (share * f64::from(*y) + (1.0 - share) * f64::from(*x)) as f32;
                }
                Ok(())
            })
        }
        Array::Gpu(x, _) => Ok(gpu::elementwise::mix(x, y.slice()?, share as f32)?),
    }
}

/// The first rows of a matrix: itself if those are all, else a copy that lets the rest go.
pub(crate) fn leading(x: &Array, rows: usize) -> Result<Array> {
    match rows == x.dim(0)? {
        true => Ok(x.clone()),
        false => x.narrow_rows(rows)?.copy(),
    }
}

/// y = x, rounded to y's numbers.
pub(crate) fn convert(x: &Array, y: &Array) -> Result<()> {
    match y {
        Array::Cpu(_) => y.write(&x.values()?),
        Array::Gpu(y, _) => Ok(gpu::elementwise::convert(x.slice()?, y)?),
    }
}
