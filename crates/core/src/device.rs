//! Where a model computes, and with which numbers.

use halo_kernels::gpu::{self, Gpu};

use crate::{Error, Result};

/// What computes.
#[derive(Clone, Debug, Default)]
pub enum Device {
    /// This machine's processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, or the emulated one.
    Gpu(Gpu),
}

impl Device {
    /// The device of a name: `cpu`, `cuda:N`, or `emulated` (the GPU's kernels on the processor, for tests).
    ///
    /// # Errors
    /// An unknown name, or a device that this machine or this build does not have.
    pub fn open(name: &str) -> Result<Device> {
        let gpu = match Kind::of(name)? {
            Kind::Cpu => return Ok(Device::Cpu),
            Kind::Cuda(ordinal) => Gpu::cuda(ordinal),
            Kind::Emulated => Gpu::emulated(),
        };
        gpu.map(Device::Gpu).map_err(|e| {
            Error::unavailable(format!("device = \"{name}\": {e}")).with_argument("device")
        })
    }

    /// # Errors
    /// A name that no device has, without opening one.
    pub(crate) fn check(name: &str) -> Result<()> {
        Kind::of(name).map(|_| ())
    }

    /// The most bytes of device memory that were ever in use; nothing on the CPU.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn memory_peak(&self) -> Result<Option<usize>> {
        match self {
            Device::Cpu => Ok(None),
            Device::Gpu(gpu) => Ok(Some(gpu.memory()?.peak)),
        }
    }
}

/// A device by its name, not opened.
enum Kind {
    Cpu,
    Cuda(usize),
    Emulated,
}

impl Kind {
    fn of(name: &str) -> Result<Kind> {
        let ordinal = name.strip_prefix("cuda:").map(str::parse);
        match (name, ordinal) {
            ("cpu", _) => Ok(Kind::Cpu),
            ("emulated", _) => Ok(Kind::Emulated),
            ("cuda", _) => Ok(Kind::Cuda(0)),
            (_, Some(Ok(ordinal))) => Ok(Kind::Cuda(ordinal)),
            _ => Err(unknown(name)),
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::parameter(format!("device = \"{name}\"; known: cpu, cuda:0 and so on"))
        .with_argument("device")
}

/// The numbers of activations and matrices. Norms, biases, gradients and the optimizer's masters are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit brain floats, for GPUs.
    Bf16,
}

impl Dtype {
    /// The numbers of a name: `f32` or `bf16`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn parse(name: &str) -> Result<Dtype> {
        match name {
            "f32" => Ok(Dtype::F32),
            "bf16" => Ok(Dtype::Bf16),
            _ => Err(
                Error::parameter(format!("dtype = \"{name}\"; known: f32, bf16"))
                    .with_argument("dtype"),
            ),
        }
    }
}

impl From<Dtype> for gpu::Dtype {
    fn from(dtype: Dtype) -> gpu::Dtype {
        match dtype {
            Dtype::F32 => gpu::Dtype::F32,
            Dtype::Bf16 => gpu::Dtype::Bf16,
        }
    }
}

/// A device, and the numbers that a model has on it.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    device: Device,
    dtype: Dtype,
}

impl Placement {
    /// Opens the device of a name for the numbers of a name.
    ///
    /// # Errors
    /// As [`Placement::check`], and a device that this machine or this build does not have.
    pub fn open(device: &str, dtype: &str) -> Result<Placement> {
        Self::check(device, dtype)?;
        Ok(Placement {
            device: Device::open(device)?,
            dtype: Dtype::parse(dtype)?,
        })
    }

    /// Checks both names without opening a device.
    ///
    /// # Errors
    /// An unknown name, or bf16 on the CPU.
    pub fn check(device: &str, dtype: &str) -> Result<()> {
        Device::check(device)?;
        match (device, Dtype::parse(dtype)?) {
            ("cpu", Dtype::Bf16) => Err(Error::parameter(
                "dtype = \"bf16\" with device = \"cpu\": the cpu computes with f32 only; leave dtype out, or choose a GPU",
            )
            .with_argument("dtype")),
            _ => Ok(()),
        }
    }

    /// What computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The numbers of activations and matrices.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }
}
