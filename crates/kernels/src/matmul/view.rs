//! Matrix views over slices.

use crate::Error;
use crate::error::length;
use std::ops::Range;

/// A read-only matrix view: element (r, c) is `data[r * row_stride + c * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
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
    pub(super) fn columns(self, cols: Range<usize>) -> Mat<'a> {
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
    pub(super) data: &'a mut [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
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
