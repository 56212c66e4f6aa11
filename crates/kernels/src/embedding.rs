//! Token embedding: rows gathered in forward, added back in backward.

use crate::Error;
use crate::error::{indices, length};
use crate::parallel::Shared;
use rayon::prelude::*;

/// out (N, d) = the rows `ids` of the table; table (V, d).
///
/// # Errors
/// A slice of another length; an id outside the table.
pub fn forward(ids: &[u32], table: &[f32], out: &mut [f32], d: usize) -> Result<(), Error> {
    let op = "embedding::forward";
    check(op, ids, table.len(), d)?;
    length(op, "out", out.len(), ids.len() * d)?;
    if d == 0 {
        return Ok(());
    }
    out.par_chunks_mut(d)
        .with_min_len(64)
        .zip(ids)
        .for_each(|(out, &id)| out.copy_from_slice(&table[id as usize * d..][..d]));
    Ok(())
}

/// Rows `ids` of dtable += dout; dout (N, d), dtable (V, d). A token's rows are added in the order in which they stand.
///
/// # Errors
/// A slice of another length; an id outside the table.
pub fn backward(ids: &[u32], dout: &[f32], dtable: &mut [f32], d: usize) -> Result<(), Error> {
    let op = "embedding::backward";
    check(op, ids, dtable.len(), d)?;
    length(op, "dout", dout.len(), ids.len() * d)?;
    if d == 0 {
        return Ok(());
    }
    // Equal ids side by side, in pack order (the sort is stable): each run belongs to one task.
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_by_key(|&n| ids[n as usize]);
    let dtable = Shared::new(dtable);
    order
        .par_chunk_by(|&a, &b| ids[a as usize] == ids[b as usize])
        .for_each(|run| {
            let id = ids[run[0] as usize] as usize;
            // SAFETY: a run holds every occurrence of its id, so no other task has this row.
            let row = unsafe { dtable.slice(id * d..(id + 1) * d) };
            for &n in run {
                for (row, dout) in row.iter_mut().zip(&dout[n as usize * d..][..d]) {
                    *row += dout;
                }
            }
        });
    Ok(())
}

fn check(op: &'static str, ids: &[u32], table: usize, d: usize) -> Result<(), Error> {
    let vocabulary = table.checked_div(d).unwrap_or(0);
    length(op, "table", table, vocabulary * d)?;
    indices(op, "ids", ids, vocabulary)
}
