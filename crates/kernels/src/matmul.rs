//! The matrix product, over the `gemm` crate: any strides, accumulation into the destination.

use crate::Error;
use crate::error::length;
use crate::parallel::for_each_unit;
use gemm::Parallelism;
use std::ops::Range;

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

impl<'a> Mat<'a> {
    /// Some columns of the view.
    fn columns(self, cols: Range<usize>) -> Mat<'a> {
        let first = (cols.start * self.col_stride).min(self.data.len());
        Mat {
            data: &self.data[first..],
            cols: cols.len(),
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
pub fn matmul(mut c: MatMut, beta: f32, alpha: f32, a: Mat, b: Mat) -> Result<(), Error> {
    agree(&c, &a, &b)?;
    let product = Product::new(&mut c, beta, alpha, a, b);
    // A linear layer's product. The gemm crate packs w on one thread before it starts, and gives every thread a fixed
    // share; tiles taken as workers become free are faster, for few rows by far.
    let activations = product.c_cols == 1 && a.col_stride == 1 && a.rows > 1;
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

/// Products of fewer multiplications than this are not worth a second thread.
const SMALL: usize = 512 * 1024;

/// Columns of a tile: the rows of the gemm crate's AVX-512 micro-kernel, which works on the transposed product.
const COLS: usize = 64;

/// Rows of a tile: at least this many, or packing w takes a noticeable part; and at most eight times as many.
const ROWS: usize = 256;

/// Lines this many elements apart (2 KiB) fall into the same few sets of a first-level cache.
const ALIAS: usize = 512;

/// Blocks of the destination, several for each worker.
fn tiles(rows: usize, cols: usize, width: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let wanted = 4 * rayon::current_num_threads();
    let chunks = wanted
        .div_ceil(cols.div_ceil(width).max(1))
        .min(rows / ROWS)
        .max(rows.div_ceil(8 * ROWS));
    (0..chunks)
        .map(|i| rows * i / chunks..rows * (i + 1) / chunks)
        .flat_map(|rows| {
            (0..cols)
                .step_by(width)
                .map(move |c| (rows.clone(), c..(c + width).min(cols)))
        })
        .collect()
}

/// c = beta·c + alpha·a·b whose blocks may be computed by different threads.
struct Product<'a> {
    c: *mut f32,
    c_rows: usize,
    c_cols: usize,
    beta: f32,
    alpha: f32,
    a: Mat<'a>,
    b: Mat<'a>,
}

// SAFETY: the pointer comes from an exclusive borrow that outlives the value; its users work on disjoint blocks.
unsafe impl Sync for Product<'_> {}

impl<'a> Product<'a> {
    fn new(c: &'a mut MatMut, beta: f32, alpha: f32, a: Mat<'a>, b: Mat<'a>) -> Product<'a> {
        Product {
            c: c.data.as_mut_ptr(),
            c_rows: c.row_stride,
            c_cols: c.col_stride,
            beta,
            alpha,
            a,
            b,
        }
    }

    /// One tile on the calling thread, through a copy of its columns of b if there is `scratch` for one.
    ///
    /// # Safety
    /// As [`Product::block`]; with `scratch` the columns of b are contiguous.
    unsafe fn tile(&self, tile: &(Range<usize>, Range<usize>), scratch: Option<&mut Vec<f32>>) {
        let (rows, cols) = tile.clone();
        let (b, k) = (self.b, self.b.rows);
        let Some(scratch) = scratch else {
            let b = b.columns(cols.clone());
            // SAFETY: the caller's promise.
            unsafe { self.block(rows, cols, b, Parallelism::None) };
            return;
        };
        // Packing walks across the columns; a copy with other strides spares it a cache miss an element.
        let stride = k + 16;
        scratch.resize(cols.len() * stride, 0.0);
        for (copy, col) in scratch.chunks_exact_mut(stride).zip(cols.clone()) {
            copy[..k].copy_from_slice(&b.data[col * b.col_stride..][..k]);
        }
        let copy = Mat {
            data: scratch,
            rows: k,
            cols: cols.len(),
            row_stride: 1,
            col_stride: stride,
        };
        // SAFETY: the caller's promise.
        unsafe { self.block(rows, cols, copy, Parallelism::None) };
    }

    /// One block of the destination, from some rows of a and `b`, the columns of b that belong to it.
    ///
    /// # Safety
    /// The operands' shapes agree; the block lies inside the destination and no other thread works on any of it.
    unsafe fn block(&self, rows: Range<usize>, cols: Range<usize>, b: Mat, threads: Parallelism) {
        let a = &self.a;
        if rows.is_empty() || cols.is_empty() {
            return;
        }
        // SAFETY: all views were checked against their slices when they were made, so whatever gemm reaches from the
        // first element of a block is in bounds (a view that is empty because k = 0 is not read). The destination is an
        // exclusive borrow: it aliases neither operand; its elements are distinct, so threads write disjoint places.
        // Strides fit in isize because the last element's index does. With `read_dst` false the old c is not read.
        unsafe {
            gemm::gemm(
                rows.len(),
                cols.len(),
                a.cols,
                self.c
                    .add(rows.start * self.c_rows + cols.start * self.c_cols),
                self.c_cols as isize,
                self.c_rows as isize,
                self.beta != 0.0,
                a.data.as_ptr().wrapping_add(rows.start * a.row_stride),
                a.col_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr(),
                b.col_stride as isize,
                b.row_stride as isize,
                self.beta,
                self.alpha,
                false,
                false,
                false,
                threads,
            );
        }
    }
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
