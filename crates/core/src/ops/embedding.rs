//! Rows of a matrix by index: gathered, and added back. Token embeddings and the head's scored rows.

use halo_kernels::{embedding, gpu};

use super::Indices;
use crate::Result;
use crate::array::Array;

/// The rows `ids` of a table: (V, D) → (N, D).
pub(crate) fn forward(ids: &Indices, table: &Array) -> Result<Array> {
    let d = table.dim(1)?;
    let out = table.beside([ids.len(), d])?;
    match &out {
        Array::Cpu(_) => {
            out.edit(|out| Ok(embedding::forward(ids.host(), &table.values()?, out, d)?))?
        }
        Array::Gpu(out, _) => gpu::embedding::forward(ids.slice()?, table.slice()?, out, d)?,
    }
    Ok(out)
}

/// Rows `ids` of dtable += dout: dout (N, D), dtable (V, D).
pub(crate) fn backward(ids: &Indices, dout: &Array, dtable: &Array) -> Result<()> {
    let d = dout.dim(1)?;
    match dtable {
        Array::Cpu(_) => {
            dtable.edit(|dtable| Ok(embedding::backward(ids.host(), &dout.values()?, dtable, d)?))
        }
        Array::Gpu(dtable, _) => {
            let runs = gpu::embedding::Runs::new(dtable.gpu(), ids.host())?;
            Ok(gpu::embedding::backward(&runs, dout.slice()?, dtable, d)?)
        }
    }
}
