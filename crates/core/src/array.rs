//! The engine's arrays: contiguous numbers on a device. Clones and narrowed rows share memory, so that what is written through one
//! is seen through all.

use std::ops::{Deref, Range};

use candle_core::Tensor;
use halo_kernels::gpu::{self, Slice};

use crate::device::{Device, Dtype};
use crate::storage::{self, Values};
use crate::{Error, Result};

/// Numbers on a device, row-major.
#[derive(Clone, Debug)]
pub(crate) enum Array {
    /// f32, on the CPU.
    Cpu(Tensor),
    /// On a GPU.
    Gpu(Slice, Vec<usize>),
}

impl Array {
    /// Takes the values over; on a GPU they are uploaded, rounded to the dtype.
    pub(crate) fn from_vec(
        device: &Device,
        dtype: Dtype,
        values: Vec<f32>,
        shape: impl Into<Vec<usize>>,
    ) -> Result<Array> {
        let shape = shape.into();
        match device {
            Device::Cpu => Ok(Array::Cpu(storage::tensor(values, shape)?)),
            Device::Gpu(gpu) => Ok(Array::Gpu(gpu.upload_as(&values, dtype.into())?, shape)),
        }
    }

    /// Zeros.
    pub(crate) fn zeros(
        device: &Device,
        dtype: Dtype,
        shape: impl Into<Vec<usize>>,
    ) -> Result<Array> {
        let shape = shape.into();
        match device {
            Device::Cpu => {
                let len = shape.iter().product();
                Ok(Array::Cpu(storage::tensor(vec![0f32; len], shape)?))
            }
            Device::Gpu(gpu) => {
                let len = shape.iter().product();
                Ok(Array::Gpu(gpu.zeros(dtype.into(), len)?, shape))
            }
        }
    }

    /// An array of another shape beside this one, for an op that writes every element.
    pub(crate) fn beside(&self, shape: impl Into<Vec<usize>>) -> Result<Array> {
        self.unwritten(self.dtype(), shape.into())
    }

    /// The same in f32, whatever this array's numbers are: what sums and statistics are kept in.
    pub(crate) fn beside_f32(&self, shape: impl Into<Vec<usize>>) -> Result<Array> {
        self.unwritten(Dtype::F32, shape.into())
    }

    /// An array of this shape, for an op that writes every element.
    pub(crate) fn like(&self) -> Result<Array> {
        self.beside(self.shape())
    }

    /// Zeros of this shape, for ops that add.
    pub(crate) fn zeros_like(&self) -> Result<Array> {
        Self::zeros(&self.device(), self.dtype(), self.shape())
    }

    fn unwritten(&self, dtype: Dtype, shape: Vec<usize>) -> Result<Array> {
        match self {
            // The allocator's zeros are pages that nobody has touched yet.
            Array::Cpu(_) => Self::zeros(&Device::Cpu, dtype, shape),
            Array::Gpu(slice, _) => {
                let len = shape.iter().product();
                Ok(Array::Gpu(slice.gpu().alloc(dtype.into(), len)?, shape))
            }
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Array::Cpu(tensor) => tensor.dims(),
            Array::Gpu(_, shape) => shape,
        }
    }

    /// # Errors
    /// An array of fewer dimensions: a fault of the engine.
    pub(crate) fn dim(&self, index: usize) -> Result<usize> {
        let shape = self.shape();
        shape
            .get(index)
            .copied()
            .ok_or_else(|| Error::internal(format!("an array of shape {shape:?} has no {index}")))
    }

    /// # Errors
    /// An array that is no matrix: a fault of the engine.
    pub(crate) fn dims2(&self) -> Result<(usize, usize)> {
        match self.shape() {
            &[rows, width] => Ok((rows, width)),
            shape => Err(Error::internal(format!(
                "an array of shape {shape:?} is not a matrix"
            ))),
        }
    }

    pub(crate) fn elem_count(&self) -> usize {
        self.shape().iter().product()
    }

    pub(crate) fn dtype(&self) -> Dtype {
        match self {
            Array::Cpu(_) => Dtype::F32,
            Array::Gpu(slice, _) => match slice.dtype() {
                gpu::Dtype::Bf16 => Dtype::Bf16,
                _ => Dtype::F32,
            },
        }
    }

    pub(crate) fn device(&self) -> Device {
        match self {
            Array::Cpu(_) => Device::Cpu,
            Array::Gpu(slice, _) => Device::Gpu(slice.gpu().clone()),
        }
    }

    /// Elements of the flat array, under another shape: the same memory.
    pub(crate) fn part(&self, range: Range<usize>, shape: impl Into<Vec<usize>>) -> Result<Array> {
        match self {
            Array::Cpu(tensor) => Ok(Array::Cpu(
                tensor
                    .flatten_all()?
                    .narrow(0, range.start, range.len())?
                    .reshape(shape.into())?,
            )),
            Array::Gpu(slice, _) => Ok(Array::Gpu(
                slice.narrow(range.start, range.len())?,
                shape.into(),
            )),
        }
    }

    /// The first rows: the same memory.
    pub(crate) fn narrow_rows(&self, rows: usize) -> Result<Array> {
        let mut shape = self.shape().to_vec();
        if let Some(first) = shape.first_mut() {
            *first = rows;
        }
        self.part(0..shape.iter().product(), shape)
    }

    /// The values on the host: in place on the CPU, a download elsewhere.
    pub(crate) fn host(&self) -> Result<Host<'_>> {
        match self {
            Array::Cpu(tensor) => Ok(Host::Borrowed(storage::values(tensor)?)),
            Array::Gpu(slice, _) => Ok(Host::Downloaded(slice.download()?)),
        }
    }

    /// A copy of the values on the host.
    pub(crate) fn to_vec(&self) -> Result<Vec<f32>> {
        match self {
            Array::Cpu(tensor) => Ok(storage::values(tensor)?.to_vec()),
            Array::Gpu(slice, _) => Ok(slice.download()?),
        }
    }

    /// Lets the host change the values: in place on the CPU, a download and an upload elsewhere.
    pub(crate) fn edit_host(&self, work: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
        match self {
            Array::Cpu(tensor) => storage::edit(tensor, work),
            Array::Gpu(slice, _) => {
                let mut values = slice.download()?;
                work(&mut values)?;
                Ok(slice.write(&values)?)
            }
        }
    }

    /// Overwrites the values.
    ///
    /// # Errors
    /// Another number of values: a fault of the engine.
    pub(crate) fn write(&self, values: &[f32]) -> Result<()> {
        if values.len() != self.elem_count() {
            return Err(Error::internal(format!(
                "{} values for an array of shape {:?}",
                values.len(),
                self.shape()
            )));
        }
        match self {
            Array::Cpu(tensor) => storage::edit(tensor, |own| {
                own.copy_from_slice(values);
                Ok(())
            }),
            Array::Gpu(slice, _) => Ok(slice.write(values)?),
        }
    }

    /// An independent array of the same values.
    pub(crate) fn copy(&self) -> Result<Array> {
        match self {
            Array::Cpu(_) => Self::from_vec(&Device::Cpu, Dtype::F32, self.to_vec()?, self.shape()),
            Array::Gpu(slice, shape) => {
                let copy = slice.gpu().alloc(slice.dtype(), slice.len())?;
                copy.copy_from(slice)?;
                Ok(Array::Gpu(copy, shape.clone()))
            }
        }
    }

    /// Sets every element to zero.
    pub(crate) fn clear(&self) -> Result<()> {
        match self {
            Array::Cpu(tensor) => storage::edit(tensor, |values| {
                values.fill(0.0);
                Ok(())
            }),
            Array::Gpu(slice, _) => Ok(slice.zero()?),
        }
    }

    /// For ops: the values of an array on the CPU.
    pub(crate) fn values(&self) -> Result<Values<'_>> {
        match self {
            Array::Cpu(tensor) => storage::values(tensor),
            Array::Gpu(..) => Err(elsewhere(self)),
        }
    }

    /// For ops: changes the values of an array on the CPU.
    pub(crate) fn edit(&self, work: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
        match self {
            Array::Cpu(tensor) => storage::edit(tensor, work),
            Array::Gpu(..) => Err(elsewhere(self)),
        }
    }

    /// For ops: the memory of an array on a GPU.
    pub(crate) fn slice(&self) -> Result<&Slice> {
        match self {
            Array::Cpu(_) => Err(elsewhere(self)),
            Array::Gpu(slice, _) => Ok(slice),
        }
    }
}

/// Arrays of one op that do not lie on one device: a fault of the engine.
fn elsewhere(array: &Array) -> Error {
    Error::internal(format!(
        "an array of shape {:?} lies on another device",
        array.shape()
    ))
}

/// An array's values, readable on the host while this lives.
pub(crate) enum Host<'a> {
    Borrowed(Values<'a>),
    Downloaded(Vec<f32>),
}

impl Deref for Host<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Host::Borrowed(values) => values,
            Host::Downloaded(values) => values,
        }
    }
}
