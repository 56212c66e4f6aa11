//! Small moves of whole rows.

use candle_core::Tensor;

use crate::Result;
use crate::storage::{self, edit, values};

/// The first rows of a tensor: itself if those are all, else a copy that lets the rest go.
pub(crate) fn leading(t: &Tensor, rows: usize) -> Result<Tensor> {
    let (n, width) = t.dims2()?;
    if rows == n {
        return Ok(t.clone());
    }
    storage::tensor(values(t)?[..rows * width].to_vec(), (rows, width))
}

/// x += y.
pub(crate) fn add(x: &Tensor, y: &Tensor) -> Result<()> {
    let y = values(y)?;
    edit(x, |x| {
        x.iter_mut().zip(y.iter()).for_each(|(x, y)| *x += y);
        Ok(())
    })
}

pub(crate) fn zeros_like(t: &Tensor) -> Result<Tensor> {
    storage::tensor(vec![0f32; t.elem_count()], t.shape())
}

/// Chosen rows of a tensor (N, D).
pub(crate) fn chosen_rows(t: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let (_, width) = t.dims2()?;
    let values = values(t)?;
    let chosen = rows
        .iter()
        .flat_map(|&row| &values[row * width..][..width])
        .copied()
        .collect::<Vec<_>>();
    storage::tensor(chosen, (rows.len(), width))
}
