//! The bias of a linear layer on the device; see [`crate::bias`].

use super::launch::{Launch, threads};
use super::{Dtype, Slice};
use crate::Error;

/// Rows of one partial sum: fixed, so that the result depends on the shape alone.
const ROWS: usize = 64;

/// y += b on every row: y (N, O), b (O) in `F32`.
///
/// # Errors
/// A slice of another length or dtype.
pub fn add(y: &Slice, b: &Slice, n: usize, o: usize) -> Result<(), Error> {
    let op = "gpu::bias::add";
    y.expect(op, "y", y.dtype(), n * o)?;
    b.expect(op, "b", Dtype::F32, o)?;
    Launch::new(y.gpu(), "bias_add")
        .slice(y)
        .slice(b)
        .unsigned(o)?
        .run(y.dtype(), [n, 1, 1], threads(o), 0)
}

/// db += Σ rows of dy: dy (N, O), db (O) in `F32`.
///
/// # Errors
/// A slice of another length or dtype.
pub fn accumulate(dy: &Slice, db: &Slice, n: usize, o: usize) -> Result<(), Error> {
    let op = "gpu::bias::accumulate";
    dy.expect(op, "dy", dy.dtype(), n * o)?;
    db.expect(op, "db", Dtype::F32, o)?;
    let (count, columns) = (n.div_ceil(ROWS), o.div_ceil(256));
    let parts = dy.gpu().alloc(Dtype::F32, count * o)?;
    Launch::new(dy.gpu(), "bias_parts")
        .slice(dy)
        .slice(&parts)
        .unsigned(n)?
        .unsigned(o)?
        .unsigned(ROWS)?
        .run(dy.dtype(), [count, columns, 1], 256, 0)?;
    Launch::new(dy.gpu(), "bias_sum")
        .slice(&parts)
        .slice(db)
        .unsigned(count)?
        .unsigned(o)?
        .run(dy.dtype(), [columns, 1, 1], 256, 0)
}
