//! The matrix product, over the `gemm` crate: any strides, accumulation into the destination.

mod product;
mod view;

pub use view::{Mat, MatMut};

use crate::Error;
use crate::error::length;
use crate::parallel::for_each_unit;
use gemm::Parallelism;
use product::{ALIAS, COLS, Product, tiles};

/// Products of fewer multiplications than this are not worth a second thread.
const SMALL: usize = 512 * 1024;

/// c = beta·c + alpha·a·b, spread over the current rayon pool; with beta = 0 the old c is not read (it may be NaN).
///
/// # Errors
/// Shapes other than (m, k) · (k, n) → (m, n).
pub fn matmul(mut c: MatMut, beta: f32, alpha: f32, a: Mat, b: Mat) -> Result<(), Error> {
    agree(&c, &a, &b)?;
    let c_cols = c.col_stride;
    let product = Product::new(&mut c, beta, alpha, a, b);
    // A linear layer's product. The gemm crate packs w on one thread before it starts, and gives every thread a fixed
    // share; tiles taken as workers become free are faster, for few rows by far.
    let activations = c_cols == 1 && a.col_stride == 1 && a.rows > 1;
    if activations && a.rows * a.cols * b.cols >= SMALL {
        // The gemm crate multiplies up to 16 × 16 with k contiguous by dot products, without packing.
        let few = a.rows <= 16 && b.row_stride == 1;
        let cols = if few { 256 / a.rows } else { COLS };
        let copy = !few && b.row_stride == 1 && b.col_stride.is_multiple_of(ALIAS);
        return for_each_unit(&tiles(a.rows, b.cols, cols), Vec::new, |scratch, tile| {
            // SAFETY: the shapes agree, and tiles are disjoint blocks of the destination.
            unsafe { product.tile(tile, copy.then_some(scratch)) };
            Ok(())
        });
    }
    // SAFETY: the shapes agree; one block, the whole destination.
    unsafe { product.block(0..a.rows, 0..b.cols, b, Parallelism::Rayon(0)) };
    Ok(())
}

/// [`matmul`] on the calling thread, for tasks that are parallel already.
pub(crate) fn matmul_here(
    mut c: MatMut,
    beta: f32,
    alpha: f32,
    a: Mat,
    b: Mat,
) -> Result<(), Error> {
    agree(&c, &a, &b)?;
    let product = Product::new(&mut c, beta, alpha, a, b);
    // SAFETY: the shapes agree; one block, the whole destination.
    unsafe { product.block(0..a.rows, 0..b.cols, b, Parallelism::None) };
    Ok(())
}

fn agree(c: &MatMut, a: &Mat, b: &Mat) -> Result<(), Error> {
    if a.cols != b.rows || c.rows != a.rows || c.cols != b.cols {
        return Err(Error::shape(
            "matmul",
            "shapes are not (m, k) · (k, n) into (m, n)",
        ));
    }
    Ok(())
}

/// A linear layer: y = beta·y + x·wᵀ with x (n, i), w (o, i), y (n, o).
///
/// # Errors
/// A slice of another length.
pub fn linear(
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    n: usize,
    i: usize,
    o: usize,
    beta: f32,
) -> Result<(), Error> {
    length("linear", "x", x.len(), n * i)?;
    length("linear", "w", w.len(), o * i)?;
    length("linear", "y", y.len(), n * o)?;
    matmul(
        MatMut::new(y, n, o)?,
        beta,
        1.0,
        Mat::new(x, n, i)?,
        Mat::new(w, o, i)?.t(),
    )
}

/// The gradient of a linear layer's input: dx = beta·dx + dy·w with dy (n, o), w (o, i), dx (n, i).
///
/// # Errors
/// A slice of another length.
pub fn linear_dx(
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    n: usize,
    i: usize,
    o: usize,
    beta: f32,
) -> Result<(), Error> {
    length("linear_dx", "dy", dy.len(), n * o)?;
    length("linear_dx", "w", w.len(), o * i)?;
    length("linear_dx", "dx", dx.len(), n * i)?;
    matmul(
        MatMut::new(dx, n, i)?,
        beta,
        1.0,
        Mat::new(dy, n, o)?,
        Mat::new(w, o, i)?,
    )
}

/// The gradient of a linear layer's weight, added to what is there: dw += scale·dyᵀ·x with dy (n, o), x (n, i), dw (o, i).
///
/// # Errors
/// A slice of another length.
pub fn linear_dw(
    dy: &[f32],
    x: &[f32],
    dw: &mut [f32],
    n: usize,
    i: usize,
    o: usize,
    scale: f32,
) -> Result<(), Error> {
    length("linear_dw", "dy", dy.len(), n * o)?;
    length("linear_dw", "x", x.len(), n * i)?;
    length("linear_dw", "dw", dw.len(), o * i)?;
    matmul(
        MatMut::new(dw, o, i)?,
        1.0,
        scale,
        Mat::new(dy, n, o)?.t(),
        Mat::new(x, n, i)?,
    )
}
