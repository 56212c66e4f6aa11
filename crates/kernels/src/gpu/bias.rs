//! The bias of a linear layer on the device; see [`crate::bias`].

use super::launch::{Launch, threads};
use super::{Dtype, Slice, columns};
use crate::Error;

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
    let parts = Launch::new(dy.gpu(), "bias_parts").slice(dy);
    columns::accumulate(parts, dy.dtype(), db, n, o)
}
