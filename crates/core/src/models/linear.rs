//! A linear layer, frozen or trained, with or without a low-rank adapter.

use super::adapter::Adapter;
use crate::Result;
use crate::array::Array;
use crate::bank::{Bank, Slot};
use crate::ops::matmul;

/// A parameter: its values, and its slot in the bank if it is trained.
#[derive(Clone, Debug)]
pub(crate) struct Param {
    /// What the model computes with.
    pub(crate) array: Array,
    /// What the optimiser keeps and a checkpoint stores, where that is finer.
    pub(crate) master: Option<Array>,
    pub(crate) slot: Option<Slot>,
}

impl Param {
    /// The values at their finest.
    pub(crate) fn stored(&self) -> &Array {
        self.master.as_ref().unwrap_or(&self.array)
    }

    /// The same values, without a gradient: trained ones are copied, frozen ones shared.
    pub(crate) fn frozen(&self) -> Result<Param> {
        let array = match self.slot {
            Some(_) => self.array.copy()?,
            None => self.array.clone(),
        };
        Ok(Param {
            array,
            master: None,
            slot: None,
        })
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
    pub(crate) fn forward(&self, x: &Array) -> Result<Array> {
        let y = x.beside([x.dim(0)?, self.weight.array.dim(0)?])?;
        matmul::linear(x, &self.weight.array, &y, 0.0)?;
        if let Some(bias) = &self.bias {
            matmul::add_bias(&y, &bias.array)?;
        }
        if let Some(adapter) = &self.adapter {
            let t = adapter.down(x)?; // (N, R), scaled
            matmul::linear(&t, &adapter.b.array, &y, 1.0)?;
        }
        Ok(y)
    }

    /// Adds the parameters' gradients to the bank and dy·W to `dx`: x (N, I), dy (N, O), dx (N, I).
    pub(crate) fn backward(&self, x: &Array, dy: &Array, dx: &Array, bank: &Bank) -> Result<()> {
        if let Some(slot) = self.weight.slot {
            matmul::linear_dw(dy, x, &bank.gradient(slot)?)?;
        }
        if let Some(Param {
            slot: Some(slot), ..
        }) = &self.bias
        {
            matmul::accumulate_bias(dy, &bank.gradient(*slot)?)?;
        }
        matmul::linear_dx(dy, &self.weight.array, dx, 1.0)?;
        match &self.adapter {
            Some(adapter) => adapter.backward(x, dy, dx, bank),
            None => Ok(()),
        }
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
