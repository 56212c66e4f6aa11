//! RMS norm over rows, as a layer.

use super::linear::Param;
use crate::Result;
use crate::array::Array;
use crate::bank::Bank;
use crate::ops::rms_norm;

/// y = w ∘ x / √(mean x² + ε), over rows of the weight's width.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Param,
    pub(crate) eps: f32,
}

impl RmsNorm {
    /// x (…, D) → y of the same shape, and 1/rms of every row in f32.
    pub(crate) fn forward(&self, x: &Array) -> Result<(Array, Array)> {
        let rows = x.elem_count() / self.weight.array.elem_count();
        let (y, rstd) = (x.like()?, x.beside_f32([rows])?);
        rms_norm::forward(x, &self.weight.array, self.eps, &y, &rstd)?;
        Ok((y, rstd))
    }

    /// sum += x, then as [`RmsNorm::forward`] of the sum: the residual and the next layer's norm.
    pub(crate) fn forward_added(&self, sum: &Array, x: &Array) -> Result<(Array, Array)> {
        let rows = sum.elem_count() / self.weight.array.elem_count();
        let (y, rstd) = (sum.like()?, sum.beside_f32([rows])?);
        rms_norm::forward_added(sum, x, &self.weight.array, self.eps, &y, &rstd)?;
        Ok((y, rstd))
    }

    /// Adds to `dx` and to the weight's gradient. `rstd` may hold more rows than x has.
    pub(crate) fn backward(
        &self,
        x: &Array,
        rstd: &Array,
        dy: &Array,
        dx: &Array,
        bank: &Bank,
    ) -> Result<()> {
        let rows = x.elem_count() / self.weight.array.elem_count();
        let dw = self
            .weight
            .slot
            .map(|slot| bank.gradient(slot))
            .transpose()?;
        let rstd = rstd.narrow_rows(rows)?;
        rms_norm::backward(x, &self.weight.array, &rstd, dy, dx, dw.as_ref())
    }

    pub(crate) fn frozen(&self) -> Result<RmsNorm> {
        Ok(RmsNorm {
            weight: self.weight.frozen()?,
            eps: self.eps,
        })
    }
}
