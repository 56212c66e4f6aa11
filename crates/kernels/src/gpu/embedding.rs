//! Token embedding on the device; see [`crate::embedding`].

use super::launch::{Launch, threads};
use super::{Dtype, Gpu, Slice};
use crate::Error;
use crate::error::length;

/// Indices sorted once on the host: each that occurs, with the places where it does, in order.
#[derive(Clone, Debug)]
pub struct Runs {
    /// The distinct indices, ascending.
    pub(super) ids: Slice,
    /// `starts[run]..starts[run + 1]` are the run's places in `order`.
    pub(super) starts: Slice,
    pub(super) order: Slice,
    /// One above the largest index.
    pub(super) limit: usize,
}

impl Runs {
    /// The runs of `ids`.
    ///
    /// # Errors
    /// Too little memory.
    pub fn new(gpu: &Gpu, ids: &[u32]) -> Result<Runs, Error> {
        // The sort is stable: the places of a run stay in the order of the pack.
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_by_key(|&place| ids[place as usize]);
        let (mut distinct, mut starts) = (Vec::new(), vec![0]);
        for run in order.chunk_by(|&a, &b| ids[a as usize] == ids[b as usize]) {
            distinct.push(ids[run[0] as usize]);
            starts.push(starts[starts.len() - 1] + run.len() as u32);
        }
        Ok(Runs {
            limit: distinct.last().map_or(0, |&id| id as usize + 1),
            ids: gpu.upload_u32(&distinct)?,
            starts: gpu.upload_u32(&starts)?,
            order: gpu.upload_u32(&order)?,
        })
    }

    /// Indices, repetitions included.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// out (N, d) = the rows `ids` of the table; table (V, d). An id outside the table makes its row NaN.
///
/// # Errors
/// A slice of another length or dtype.
pub fn forward(ids: &Slice, table: &Slice, out: &Slice, d: usize) -> Result<(), Error> {
    let (op, n) = ("gpu::embedding::forward", ids.len());
    let v = rows(op, "table", table, d)?;
    ids.expect(op, "ids", Dtype::U32, n)?;
    out.expect(op, "out", table.dtype(), n * d)?;
    Launch::new(out.gpu(), "embedding_forward")
        .slice(ids)
        .slice(table)
        .slice(out)
        .unsigned(d)?
        .unsigned(v)?
        .run(out.dtype(), [n, 1, 1], threads(d), 0)
}

/// Rows of dtable (V, d) += dout (N, d), a row's places one after another: into the gradient bank (`F32`), or into a gradient of
/// activations of dout's dtype.
///
/// # Errors
/// A slice of another length or dtype; an id outside the table.
pub fn backward(runs: &Runs, dout: &Slice, dtable: &Slice, d: usize) -> Result<(), Error> {
    let op = "gpu::embedding::backward";
    let v = rows(op, "dtable", dtable, d)?;
    dout.expect(op, "dout", dout.dtype(), runs.len() * d)?;
    if runs.limit > v {
        return Err(Error::shape(op, "an id is outside the table"));
    }
    let kernel = match dtable.dtype() {
        Dtype::F32 => "embedding_backward_bank",
        _ => "embedding_backward",
    };
    if dtable.dtype() != Dtype::F32 {
        dtable.expect(op, "dtable", dout.dtype(), v * d)?;
    }
    let block = threads(d);
    let columns = d.div_ceil(block as usize);
    Launch::new(dout.gpu(), kernel)
        .slice(&runs.ids)
        .slice(&runs.starts)
        .slice(&runs.order)
        .slice(dout)
        .slice(dtable)
        .unsigned(d)?
        .run(dout.dtype(), [runs.ids.len(), columns, 1], block, 0)
}

/// Rows of a table of rows of `d` elements.
pub(super) fn rows(
    op: &'static str,
    argument: &'static str,
    table: &Slice,
    d: usize,
) -> Result<usize, Error> {
    let rows = table.len().checked_div(d).unwrap_or(0);
    length(op, argument, table.len(), rows * d)?;
    Ok(rows)
}
