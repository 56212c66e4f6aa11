//! Rotary position embedding on the device; see [`crate::rope`].

use super::launch::{Launch, threads};
use super::{Dtype, Gpu, Slice};
use crate::Error;
use crate::rope::RopeTable;

/// Cosines and sines (positions, E/2) on the device.
#[derive(Clone, Debug)]
pub struct Table {
    cos: Slice,
    sin: Slice,
    half: usize,
    positions: usize,
}

impl Table {
    /// The CPU's table, so that both devices rotate by the same angles.
    ///
    /// # Errors
    /// Too little memory.
    pub fn new(gpu: &Gpu, table: &RopeTable) -> Result<Table, Error> {
        Ok(Table {
            cos: gpu.upload(table.cos())?,
            sin: gpu.upload(table.sin())?,
            half: table.head_dim() / 2,
            positions: table.positions(),
        })
    }

    /// Positions that the table covers.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// E.
    pub fn head_dim(&self) -> usize {
        2 * self.half
    }
}

/// Rotates x (N, heads, E) in place, row n by `positions[n]`; a position outside the table makes its row NaN.
///
/// # Errors
/// A slice of another length or dtype.
pub fn apply(x: &Slice, heads: usize, positions: &Slice, table: &Table) -> Result<(), Error> {
    rotate("gpu::rope::apply", x, heads, positions, table, 1.0)
}

/// Rotates by the negative angle: the transpose of [`apply`], for gradients.
///
/// # Errors
/// As [`apply`].
pub fn apply_transposed(
    x: &Slice,
    heads: usize,
    positions: &Slice,
    table: &Table,
) -> Result<(), Error> {
    let op = "gpu::rope::apply_transposed";
    rotate(op, x, heads, positions, table, -1.0)
}

fn rotate(
    op: &'static str,
    x: &Slice,
    heads: usize,
    positions: &Slice,
    table: &Table,
    sign: f32,
) -> Result<(), Error> {
    let n = positions.len();
    positions.expect(op, "positions", Dtype::U32, n)?;
    x.expect(op, "x", x.dtype(), n * heads * table.head_dim())?;
    Launch::new(x.gpu(), "rope_rotate")
        .slice(x)
        .slice(positions)
        .slice(&table.cos)
        .slice(&table.sin)
        .float(sign)
        .unsigned(heads)?
        .unsigned(table.half)?
        .unsigned(table.positions)?
        .run(x.dtype(), [n, 1, 1], threads(heads * table.half), 0)
}
