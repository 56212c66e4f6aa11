//! The matrix products of a linear layer on the device; see [`crate::matmul`].

use super::driver::Gemm;
use super::{Dtype, Slice};
use crate::Error;

/// A linear layer: y = beta·y + alpha·x·wᵀ with x (n, i), w (o, i), y (n, o).
///
/// # Errors
/// A slice of another length or dtype: y is `F32` or what x and w are.
pub fn linear(
    x: &Slice,
    w: &Slice,
    y: &Slice,
    n: usize,
    i: usize,
    o: usize,
    alpha: f32,
    beta: f32,
) -> Result<(), Error> {
    let shape = [("x", n * i), ("w", o * i), ("y", n * o)];
    let [m, n, k] = [n, o, i];
    run(
        "gpu::linear",
        x,
        w,
        y,
        shape,
        [m, n, k],
        [false, true],
        [alpha, beta],
    )
}

/// The gradient of a linear layer's input: dx = beta·dx + alpha·dy·w with dy (n, o), w (o, i), dx (n, i).
///
/// # Errors
/// As [`linear`].
pub fn linear_dx(
    dy: &Slice,
    w: &Slice,
    dx: &Slice,
    n: usize,
    i: usize,
    o: usize,
    alpha: f32,
    beta: f32,
) -> Result<(), Error> {
    let shape = [("dy", n * o), ("w", o * i), ("dx", n * i)];
    let [m, n, k] = [n, i, o];
    run(
        "gpu::linear_dx",
        dy,
        w,
        dx,
        shape,
        [m, n, k],
        [false, false],
        [alpha, beta],
    )
}

/// The gradient of a linear layer's weight, added to what is there: dw += scale·dyᵀ·x with dy (n, o), x (n, i), dw (o, i).
///
/// # Errors
/// As [`linear`].
pub fn linear_dw(
    dy: &Slice,
    x: &Slice,
    dw: &Slice,
    n: usize,
    i: usize,
    o: usize,
    scale: f32,
) -> Result<(), Error> {
    let shape = [("dy", n * o), ("x", n * i), ("dw", o * i)];
    let [m, n, k] = [o, i, n];
    run(
        "gpu::linear_dw",
        dy,
        x,
        dw,
        shape,
        [m, n, k],
        [true, false],
        [scale, 1.0],
    )
}

fn run(
    op: &'static str,
    a: &Slice,
    b: &Slice,
    c: &Slice,
    [(name_a, len_a), (name_b, len_b), (name_c, len_c)]: [(&'static str, usize); 3],
    [m, n, k]: [usize; 3],
    [transpose_a, transpose_b]: [bool; 2],
    [alpha, beta]: [f32; 2],
) -> Result<(), Error> {
    let operands = a.dtype();
    if !matches!(operands, Dtype::F32 | Dtype::Bf16) {
        return Err(Error::dtype(op, name_a, operands, Dtype::F32));
    }
    let output = match c.dtype() {
        Dtype::F32 => Dtype::F32,
        _ => operands,
    };
    a.expect(op, name_a, operands, len_a)?;
    b.expect(op, name_b, operands, len_b)?;
    c.expect(op, name_c, output, len_c)?;
    a.near(op, b)?;
    a.near(op, c)?;
    if m * n == 0 || (k == 0 && beta == 1.0) {
        return Ok(());
    }
    if k == 0 {
        return Err(Error::shape(
            op,
            "an inner dimension of 0 with beta other than 1",
        ));
    }
    let gemm = Gemm {
        a: a.address(),
        b: b.address(),
        c: c.address(),
        m,
        n,
        k,
        transpose_a,
        transpose_b,
        operands,
        output,
        alpha,
        beta,
    };
    // SAFETY: the lengths were checked against the shape, and the slices hold their memory until the call has been queued.
    unsafe { a.gpu().driver().gemm(&gemm) }
}
