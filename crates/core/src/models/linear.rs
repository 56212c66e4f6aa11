//! A linear layer, frozen or trained, with or without a low-rank adapter.

use candle_core::Tensor;
use halo_kernels::{bias, matmul};

use super::adapter::Adapter;
use crate::Result;
use crate::bank::{Bank, Slot};
use crate::storage::{self, edit, values};

/// A parameter: its values, and its slot in the bank if it is trained.
#[derive(Clone, Debug)]
pub(crate) struct Param {
    pub(crate) tensor: Tensor,
    pub(crate) slot: Option<Slot>,
}

impl Param {
    /// The same values, without a gradient: trained ones are copied, frozen ones shared.
    pub(crate) fn frozen(&self) -> Result<Param> {
        let tensor = match self.slot {
            Some(_) => storage::tensor(values(&self.tensor)?.to_vec(), self.tensor.shape())?,
            None => self.tensor.clone(),
        };
        Ok(Param { tensor, slot: None })
    }
}

/// y = x·Wᵀ + b, plus the adapter's s·(x·Aᵀ)·Bᵀ.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Param,
    pub(crate) bias: Option<Param>,
    pub(crate) adapter: Option<Adapter>,
}

impl Linear {
    /// x (N, I) → y (N, O).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, i) = x.dims2()?;
        let o = self.weight.tensor.dim(0)?;
        let mut y = vec![0f32; n * o];
        matmul::linear(
            &values(x)?,
            &values(&self.weight.tensor)?,
            &mut y,
            n,
            i,
            o,
            0.0,
        )?;
        if let Some(bias) = &self.bias {
            bias::add(&mut y, &values(&bias.tensor)?, n, o)?;
        }
        if let Some(adapter) = &self.adapter {
            let t = adapter.down(&values(x)?, n, i)?; // (N, R), scaled
            matmul::linear(
                &t,
                &values(&adapter.b.tensor)?,
                &mut y,
                n,
                adapter.rank,
                o,
                1.0,
            )?;
        }
        storage::tensor(y, (n, o))
    }

    /// Adds the parameters' gradients to the bank and dy·W to `dx`: x (N, I), dy (N, O), dx (N, I).
    pub(crate) fn backward(&self, x: &Tensor, dy: &Tensor, dx: &Tensor, bank: &Bank) -> Result<()> {
        let (n, i) = x.dims2()?;
        let o = self.weight.tensor.dim(0)?;
        let (x, dy) = (values(x)?, values(dy)?);
        if let Some(slot) = self.weight.slot {
            bank.accumulate(slot, |dw| Ok(matmul::linear_dw(&dy, &x, dw, n, i, o, 1.0)?))?;
        }
        if let Some(Param {
            slot: Some(slot), ..
        }) = &self.bias
        {
            bank.accumulate(*slot, |db| Ok(bias::accumulate(&dy, db, n, o)?))?;
        }
        edit(dx, |dx| {
            matmul::linear_dx(&dy, &values(&self.weight.tensor)?, dx, n, i, o, 1.0)?;
            match &self.adapter {
                Some(adapter) => adapter.backward(&x, &dy, dx, bank, n, i, o),
                None => Ok(()),
            }
        })
    }

    /// The same function without gradients.
    pub(crate) fn frozen(&self) -> Result<Linear> {
        Ok(Linear {
            weight: self.weight.frozen()?,
            bias: self.bias.as_ref().map(Param::frozen).transpose()?,
            adapter: self.adapter.as_ref().map(Adapter::frozen).transpose()?,
        })
    }
}
