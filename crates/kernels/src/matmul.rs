//! The matrix product, over the `gemm` crate: any strides, accumulation into the destination.

use crate::Error;
use crate::error::length;
use gemm::Parallelism;

/// A read-only matrix view: element (r, c) is `data[r * row_stride + c * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A row-major (rows, cols) matrix that fills `data`.
    ///
    /// # Errors
    /// A length other than rows × cols.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Result<Mat<'a>, Error> {
        length("matmul", "data", data.len(), rows * cols)?;
        Mat::strided(data, rows, cols, cols, 1)
    }

    /// Any strides, 0 and overlaps included.
    ///
    /// # Errors
    /// A last element outside `data`.
    pub fn strided(
        data: &'a [f32],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Mat<'a>, Error> {
        fits(data.len(), rows, cols, row_stride, col_stride)?;
        Ok(Mat {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        })
    }

    /// The transposed view.
    pub fn t(self) -> Mat<'a> {
        Mat {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// A writable matrix view whose elements are distinct: element (r, c) is `data[r * row_stride + c * col_stride]`.
#[derive(Debug)]
pub struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> MatMut<'a> {
    /// A row-major (rows, cols) matrix that fills `data`.
    ///
    /// # Errors
    /// A length other than rows × cols.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Result<MatMut<'a>, Error> {
        length("matmul", "data", data.len(), rows * cols)?;
        MatMut::strided(data, rows, cols, cols, 1)
    }

    /// Row-major or column-major with gaps.
    ///
    /// # Errors
    /// A last element outside `data`, or strides under which two elements share a place.
    pub fn strided(
        data: &'a mut [f32],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<MatMut<'a>, Error> {
        fits(data.len(), rows, cols, row_stride, col_stride)?;
        let by_rows = col_stride >= 1 && row_stride >= cols * col_stride;
        let by_cols = row_stride >= 1 && col_stride >= rows * row_stride;
        if rows * cols > 1 && !by_rows && !by_cols {
            return Err(Error::shape(
                "matmul",
                "elements of the destination overlap",
            ));
        }
        Ok(MatMut {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        })
    }

    /// The transposed view.
    pub fn t(self) -> MatMut<'a> {
        MatMut {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            data: self.data,
        }
    }
}

/// The last element of the view lies inside the slice.
fn fits(
    len: usize,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
) -> Result<(), Error> {
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    let last = (rows - 1)
        .checked_mul(row_stride)
        .zip((cols - 1).checked_mul(col_stride))
        .and_then(|(r, c)| r.checked_add(c));
    match last {
        Some(last) if last < len => Ok(()),
        _ => Err(Error::shape("matmul", "the view is larger than its slice")),
    }
}

/// c = beta·c + alpha·a·b, spread over the current rayon pool; with beta = 0 the old c is not read (it may be NaN).
///
/// # Errors
/// Shapes other than (m, k) · (k, n) → (m, n).
pub fn matmul(c: MatMut, beta: f32, alpha: f32, a: Mat, b: Mat) -> Result<(), Error> {
    product(c, beta, alpha, a, b, Parallelism::Rayon(0))
}

/// [`matmul`] on the calling thread, for tasks that are parallel already.
pub(crate) fn matmul_here(c: MatMut, beta: f32, alpha: f32, a: Mat, b: Mat) -> Result<(), Error> {
    product(c, beta, alpha, a, b, Parallelism::None)
}

fn product(
    c: MatMut,
    beta: f32,
    alpha: f32,
    a: Mat,
    b: Mat,
    parallelism: Parallelism,
) -> Result<(), Error> {
    if a.cols != b.rows || c.rows != a.rows || c.cols != b.cols {
        return Err(Error::shape(
            "matmul",
            "shapes are not (m, k) · (k, n) into (m, n)",
        ));
    }
    // SAFETY: the three views were checked against their slices when they were made; `c` is an exclusive borrow, so it
    // aliases neither `a` nor `b`, and its elements are distinct, so threads write disjoint places. Strides fit in isize
    // because the last element's index does. With `read_dst` false the old destination is never read.
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            a.cols,
            c.data.as_mut_ptr(),
            c.col_stride as isize,
            c.row_stride as isize,
            beta != 0.0,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
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
