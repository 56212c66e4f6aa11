//! RMS norm over rows, as a layer.

use candle_core::Tensor;
use halo_kernels::rms_norm;

use super::linear::Param;
use crate::Result;
use crate::bank::Bank;
use crate::storage::{self, edit, values};

/// y = w ∘ x / √(mean x² + ε), over rows of the weight's width.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Param,
    pub(crate) eps: f32,
}

impl RmsNorm {
    /// x (…, D) → y of the same shape, and 1/rms of every row.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<(Tensor, Vec<f32>)> {
        let (n, d) = self.rows(x)?;
        let (mut y, mut rstd) = (vec![0f32; n * d], vec![0f32; n]);
        let (x_values, w) = (values(x)?, values(&self.weight.tensor)?);
        rms_norm::forward(&x_values, &w, self.eps, &mut y, &mut rstd, n, d)?;
        Ok((storage::tensor(y, x.shape())?, rstd))
    }

    /// Adds to `dx` and to the weight's gradient.
    pub(crate) fn backward(
        &self,
        x: &Tensor,
        rstd: &[f32],
        dy: &Tensor,
        dx: &Tensor,
        bank: &Bank,
    ) -> Result<()> {
        let (n, d) = self.rows(x)?;
        let (x, dy, w) = (values(x)?, values(dy)?, values(&self.weight.tensor)?);
        edit(dx, |dx| match self.weight.slot {
            Some(slot) => bank.accumulate(slot, |dw| {
                Ok(rms_norm::backward(
                    &x,
                    &w,
                    &rstd[..n],
                    &dy,
                    dx,
                    Some(dw),
                    n,
                    d,
                )?)
            }),
            None => Ok(rms_norm::backward(&x, &w, &rstd[..n], &dy, dx, None, n, d)?),
        })
    }

    pub(crate) fn frozen(&self) -> Result<RmsNorm> {
        Ok(RmsNorm {
            weight: self.weight.frozen()?,
            eps: self.eps,
        })
    }

    fn rows(&self, x: &Tensor) -> Result<(usize, usize)> {
        let d = self.weight.tensor.elem_count();
        Ok((x.elem_count() / d, d))
    }
}
