//! RMS norm on the device; see [`crate::rms_norm`].

use super::launch::{Launch, threads};
use super::{Dtype, Slice, columns};
use crate::Error;

/// y (n, d) and rstd (n) = 1/√(mean(x²) + eps) from x (n, d) and w (d).
///
/// # Errors
/// A slice of another length or dtype.
pub fn forward(
    x: &Slice,
    w: &Slice,
    eps: f32,
    y: &Slice,
    rstd: &Slice,
    n: usize,
    d: usize,
) -> Result<(), Error> {
    run_forward("gpu::rms_norm::forward", x, None, w, eps, y, rstd, n, d)
}

/// The residual and its norm in one pass: sum (n, d) = x + add, as stored, then as [`forward`] of the sum.
///
/// # Errors
/// As [`forward`].
pub fn forward_added(
    x: &Slice,
    add: &Slice,
    sum: &Slice,
    w: &Slice,
    eps: f32,
    y: &Slice,
    rstd: &Slice,
    n: usize,
    d: usize,
) -> Result<(), Error> {
    let op = "gpu::rms_norm::forward_added";
    run_forward(op, x, Some((add, sum)), w, eps, y, rstd, n, d)
}

fn run_forward(
    op: &'static str,
    x: &Slice,
    added: Option<(&Slice, &Slice)>,
    w: &Slice,
    eps: f32,
    y: &Slice,
    rstd: &Slice,
    n: usize,
    d: usize,
) -> Result<(), Error> {
    x.expect(op, "x", x.dtype(), n * d)?;
    if let Some((add, sum)) = added {
        add.expect(op, "add", x.dtype(), n * d)?;
        sum.expect(op, "sum", x.dtype(), n * d)?;
    }
    w.expect(op, "w", Dtype::F32, d)?;
    y.expect(op, "y", x.dtype(), n * d)?;
    rstd.expect(op, "rstd", Dtype::F32, n)?;
    Launch::new(x.gpu(), "rms_norm_forward")
        .slice(x)
        .option(added.map(|(add, _)| add))
        .option(added.map(|(_, sum)| sum))
        .slice(w)
        .float(eps)
        .slice(y)
        .slice(rstd)
        .unsigned(n)?
        .unsigned(d)?
        .run(x.dtype(), [n, 1, 1], threads(d), 0)
}

/// dx (n, d) += and, if asked for, dw (d) +=, from what [`forward`] read and gave.
///
/// # Errors
/// A slice of another length or dtype.
pub fn backward(
    x: &Slice,
    w: &Slice,
    rstd: &Slice,
    dy: &Slice,
    dx: &Slice,
    dw: Option<&Slice>,
    n: usize,
    d: usize,
) -> Result<(), Error> {
    let op = "gpu::rms_norm::backward";
    x.expect(op, "x", x.dtype(), n * d)?;
    w.expect(op, "w", Dtype::F32, d)?;
    rstd.expect(op, "rstd", Dtype::F32, n)?;
    dy.expect(op, "dy", x.dtype(), n * d)?;
    dx.expect(op, "dx", x.dtype(), n * d)?;
    Launch::new(x.gpu(), "rms_norm_backward")
        .slice(x)
        .slice(w)
        .slice(rstd)
        .slice(dy)
        .slice(dx)
        .unsigned(n)?
        .unsigned(d)?
        .run(x.dtype(), [n, 1, 1], threads(d), 0)?;
    let Some(dw) = dw else {
        return Ok(());
    };
    dw.expect(op, "dw", Dtype::F32, d)?;
    let parts = Launch::new(x.gpu(), "rms_norm_weight_parts")
        .slice(x)
        .slice(rstd)
        .slice(dy);
    columns::accumulate(parts, x.dtype(), dw, n, d)
}
