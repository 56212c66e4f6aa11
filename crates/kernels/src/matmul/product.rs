//! The unsafe call of the gemm crate, and how a product is cut for several threads.

use super::{Mat, MatMut};
use gemm::Parallelism;
use std::ops::Range;

/// Columns of a tile: the rows of the gemm crate's AVX-512 micro-kernel, which works on the transposed product.
pub(super) const COLS: usize = 64;

/// Rows of a tile: at least this many, or packing w takes a noticeable part; and at most eight times as many.
const ROWS: usize = 256;

/// Lines this many elements apart (2 KiB) fall into the same few sets of a first-level cache.
pub(super) const ALIAS: usize = 512;

/// Blocks of the destination, several for each worker.
pub(super) fn tiles(rows: usize, cols: usize, width: usize) -> Vec<(Range<usize>, Range<usize>)> {
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
pub(super) struct Product<'a> {
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
    pub(super) fn new(
        c: &'a mut MatMut,
        beta: f32,
        alpha: f32,
        a: Mat<'a>,
        b: Mat<'a>,
    ) -> Product<'a> {
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
    pub(super) unsafe fn tile(
        &self,
        tile: &(Range<usize>, Range<usize>),
        scratch: Option<&mut Vec<f32>>,
    ) {
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
    pub(super) unsafe fn block(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        b: Mat,
        threads: Parallelism,
    ) {
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
