//! Token ids, positions, rows and targets: uploaded once, read by every block.

use halo_kernels::gpu::Slice;

use crate::device::Device;
use crate::{Error, Result};

/// Whole numbers that ops read, on the host and wherever the model is.
#[derive(Clone, Debug)]
pub(crate) struct Indices {
    host: Vec<u32>,
    device: Option<Slice>,
}

impl Indices {
    pub(crate) fn new(device: &Device, host: Vec<u32>) -> Result<Indices> {
        let device = match device {
            Device::Cpu => None,
            Device::Gpu(gpu) => Some(gpu.upload_u32(&host)?),
        };
        Ok(Indices { host, device })
    }

    pub(crate) fn len(&self) -> usize {
        self.host.len()
    }

    pub(crate) fn host(&self) -> &[u32] {
        &self.host
    }

    /// For ops: the numbers on a GPU.
    pub(crate) fn slice(&self) -> Result<&Slice> {
        let missing = || Error::internal("indices lie on another device");
        self.device.as_ref().ok_or_else(missing)
    }

    /// Keeps the first so many.
    pub(crate) fn truncate(&mut self, len: usize) -> Result<()> {
        self.host.truncate(len);
        if let Some(slice) = &mut self.device {
            *slice = slice.narrow(0, self.host.len())?;
        }
        Ok(())
    }
}
