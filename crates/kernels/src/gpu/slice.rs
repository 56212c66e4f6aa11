//! Memory of a device: runs of elements, freed with their last holder.

use std::fmt;
use std::sync::Arc;

use half::bf16;

use super::Gpu;
use crate::Error;
use crate::error::length;

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 16-bit float with eight bits of significand.
    Bf16,
    /// Index.
    U32,
    /// Code of an 8-bit moment.
    U8,
    /// 64-bit float, of sums over everything.
    F64,
}

impl Dtype {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Dtype::U8 => 1,
            Dtype::Bf16 => 2,
            Dtype::F32 | Dtype::U32 => 4,
            Dtype::F64 => 8,
        }
    }
}

/// A run of elements on a device. Clones and parts share the memory, as views of a tensor do: what one writes the others read.
#[derive(Clone)]
pub struct Slice {
    buffer: Arc<Buffer>,
    start: usize,
    len: usize,
    dtype: Dtype,
}

struct Buffer {
    gpu: Gpu,
    address: u64,
    bytes: usize,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.gpu.driver().free(self.address, self.bytes);
        }
    }
}

impl Gpu {
    /// Uninitialised elements.
    ///
    /// # Errors
    /// Too little memory ([`Error::is_out_of_memory`]): nothing else is lost.
    pub fn alloc(&self, dtype: Dtype, len: usize) -> Result<Slice, Error> {
        let bytes = len * dtype.size();
        let address = match bytes {
            0 => 0,
            _ => self.driver().alloc(bytes)?,
        };
        Ok(Slice {
            buffer: Arc::new(Buffer {
                gpu: self.clone(),
                address,
                bytes,
            }),
            start: 0,
            len,
            dtype,
        })
    }

    /// Zeros.
    ///
    /// # Errors
    /// As [`Gpu::alloc`].
    pub fn zeros(&self, dtype: Dtype, len: usize) -> Result<Slice, Error> {
        let slice = self.alloc(dtype, len)?;
        slice.zero()?;
        Ok(slice)
    }

    /// Numbers as `F32`.
    ///
    /// # Errors
    /// As [`Gpu::alloc`].
    pub fn upload(&self, values: &[f32]) -> Result<Slice, Error> {
        self.upload_as(values, Dtype::F32)
    }

    /// Numbers as `F32`, or rounded to the nearest `Bf16`.
    ///
    /// # Errors
    /// As [`Gpu::alloc`]; a dtype that holds no floats of these sizes.
    pub fn upload_as(&self, values: &[f32], dtype: Dtype) -> Result<Slice, Error> {
        let slice = self.alloc(dtype, values.len())?;
        slice.write(values)?;
        Ok(slice)
    }

    /// Indices.
    ///
    /// # Errors
    /// As [`Gpu::alloc`].
    pub fn upload_u32(&self, values: &[u32]) -> Result<Slice, Error> {
        let slice = self.alloc(Dtype::U32, values.len())?;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        slice.put(&bytes)?;
        Ok(slice)
    }
}

impl Slice {
    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the elements are.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Where they lie.
    pub fn gpu(&self) -> &Gpu {
        &self.buffer.gpu
    }

    /// A part, sharing the memory.
    ///
    /// # Errors
    /// A part that reaches beyond the end.
    pub fn narrow(&self, start: usize, len: usize) -> Result<Slice, Error> {
        if start > self.len || len > self.len - start {
            return Err(Error::shape(
                "Slice::narrow",
                "the part reaches beyond the slice's end",
            ));
        }
        Ok(Slice {
            start: self.start + start,
            len,
            ..self.clone()
        })
    }

    /// The elements as `f32`; waits.
    ///
    /// # Errors
    /// Indices or codes; what went wrong on the device since the last wait.
    pub fn download(&self) -> Result<Vec<f32>, Error> {
        let bytes = self.get()?;
        match self.dtype {
            Dtype::F32 => Ok(words(&bytes).map(f32::from_bits).collect()),
            Dtype::Bf16 => Ok(bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32())
                .collect()),
            Dtype::F64 => Ok(bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b) as f32)
                .collect()),
            Dtype::U32 | Dtype::U8 => Err(Error::shape(
                "Slice::download",
                "the elements are no floats",
            )),
        }
    }

    /// The indices; waits.
    ///
    /// # Errors
    /// Elements that are none; what went wrong on the device since the last wait.
    pub fn download_u32(&self) -> Result<Vec<u32>, Error> {
        self.expect("Slice::download_u32", "self", Dtype::U32, self.len)?;
        Ok(words(&self.get()?).collect())
    }

    /// The codes; waits.
    ///
    /// # Errors
    /// Elements that are none; what went wrong on the device since the last wait.
    pub fn download_codes(&self) -> Result<Vec<u8>, Error> {
        self.expect("Slice::download_codes", "self", Dtype::U8, self.len)?;
        self.get()
    }

    /// The bytes; waits.
    pub(crate) fn get(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.len * self.dtype.size()];
        if !bytes.is_empty() {
            self.gpu().driver().download(self.address(), &mut bytes)?;
        }
        Ok(bytes)
    }

    /// Overwrites the elements, rounding to the nearest `Bf16` where that is what they are.
    ///
    /// # Errors
    /// Another number of values; elements that are neither `F32` nor `Bf16`.
    pub fn write(&self, values: &[f32]) -> Result<(), Error> {
        length("Slice::write", "values", values.len(), self.len)?;
        let bytes: Vec<u8> = match self.dtype {
            Dtype::F32 => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Dtype::Bf16 => values
                .iter()
                .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
                .collect(),
            Dtype::U32 | Dtype::U8 | Dtype::F64 => {
                return Err(Error::shape("Slice::write", "the elements are no floats"));
            }
        };
        self.put(&bytes)
    }

    /// Overwrites the bytes.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<(), Error> {
        length(
            "Slice::put",
            "bytes",
            bytes.len(),
            self.len * self.dtype.size(),
        )?;
        match bytes.is_empty() {
            true => Ok(()),
            false => self.gpu().driver().upload(self.address(), bytes),
        }
    }

    /// Overwrites the elements with another slice's.
    ///
    /// # Errors
    /// Another length, dtype or device.
    pub fn copy_from(&self, other: &Slice) -> Result<(), Error> {
        other.expect("Slice::copy_from", "other", self.dtype, self.len)?;
        self.near("Slice::copy_from", other)?;
        match self.is_empty() {
            true => Ok(()),
            false => self.gpu().driver().copy(
                other.address(),
                self.address(),
                self.len * self.dtype.size(),
            ),
        }
    }

    /// Sets every element to zero.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn zero(&self) -> Result<(), Error> {
        match self.is_empty() {
            true => Ok(()),
            false => self
                .gpu()
                .driver()
                .zero(self.address(), self.len * self.dtype.size()),
        }
    }

    pub(super) fn address(&self) -> u64 {
        self.buffer.address + (self.start * self.dtype.size()) as u64
    }

    /// # Errors
    /// Another dtype or length than an op expects.
    pub(super) fn expect(
        &self,
        op: &'static str,
        argument: &'static str,
        dtype: Dtype,
        len: usize,
    ) -> Result<(), Error> {
        if self.dtype != dtype {
            return Err(Error::dtype(op, argument, self.dtype, dtype));
        }
        length(op, argument, self.len, len)
    }

    /// # Errors
    /// Another device.
    pub(super) fn near(&self, op: &'static str, other: &Slice) -> Result<(), Error> {
        match self.gpu().same(other.gpu()) {
            true => Ok(()),
            false => Err(Error::shape(op, "the slices lie on different devices")),
        }
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({:?}, {})", self.dtype, self.len)
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b))
}
