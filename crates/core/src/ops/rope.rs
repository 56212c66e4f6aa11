//! Rotary positions, in place.

use halo_kernels::gpu;
use halo_kernels::rope::{self, RopeTable};

use super::Indices;
use crate::array::Array;
use crate::device::Device;
use crate::{Error, Result};

/// Cosines and sines of positions, on the host and wherever the model is.
pub(crate) struct Table {
    host: RopeTable,
    device: Option<gpu::rope::Table>,
}

impl Table {
    /// Covers positions 0..positions.
    pub(crate) fn new(device: &Device, inv_freq: &[f32], positions: usize) -> Result<Table> {
        let host = RopeTable::new(inv_freq, positions);
        let device = match device {
            Device::Cpu => None,
            Device::Gpu(gpu) => Some(gpu::rope::Table::new(gpu, &host)?),
        };
        Ok(Table { host, device })
    }

    pub(crate) fn positions(&self) -> usize {
        self.host.positions()
    }

    fn device(&self) -> Result<&gpu::rope::Table> {
        let missing = || Error::internal("a rotary table lies on another device");
        self.device.as_ref().ok_or_else(missing)
    }
}

/// Rotates x (N, heads·E), row n by its position.
pub(crate) fn apply(x: &Array, heads: usize, positions: &Indices, table: &Table) -> Result<()> {
    match x {
        Array::Cpu(_) => x.edit(|x| Ok(rope::apply(x, heads, positions.host(), &table.host)?)),
        Array::Gpu(x, _) => Ok(gpu::rope::apply(
            x,
            heads,
            positions.slice()?,
            table.device()?,
        )?),
    }
}

/// The transpose of [`apply`], for gradients.
pub(crate) fn apply_transposed(
    x: &Array,
    heads: usize,
    positions: &Indices,
    table: &Table,
) -> Result<()> {
    match x {
        Array::Cpu(_) => x.edit(|x| {
            Ok(rope::apply_transposed(
                x,
                heads,
                positions.host(),
                &table.host,
            )?)
        }),
        Array::Gpu(x, _) => Ok(gpu::rope::apply_transposed(
            x,
            heads,
            positions.slice()?,
            table.device()?,
        )?),
    }
}
