//! The one place that touches candle's storage: f32 tensors as slices, and in place.
//!
//! Every tensor of the engine is contiguous f32; views into a flat bank differ only in their offset.

use std::cell::RefCell;
use std::ops::{Deref, Range};

use candle_core::{
    CpuStorage, Device, InplaceOp1, Layout, Shape, Storage, StorageRef, Tensor, WithDType,
};

use crate::{Error, Result};

/// A tensor's values, readable as `&[f32]` while the guard lives.
pub(crate) struct Values<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            // `values` made this guard only after it had seen f32 on the CPU.
            _ => &[],
        }
    }
}

/// The values of a contiguous f32 CPU tensor, without a copy.
///
/// # Errors
/// Another device, dtype or layout: a fault of the engine, named with the tensor's shape.
pub(crate) fn values(tensor: &Tensor) -> Result<Values<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let range = contiguous(layout)?;
    match &*storage {
        Storage::Cpu(CpuStorage::F32(_)) => Ok(Values { storage, range }),
        _ => Err(Error::internal(format!(
            "a tensor of shape {:?} is not f32 on the CPU",
            tensor.shape()
        ))),
    }
}

/// A tensor that takes the vector over, without a copy.
pub(crate) fn tensor<T: WithDType>(data: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(data, shape.into(), &Device::Cpu)?)
}

/// Lets `work` change a tensor's values in place; views of the same storage see the change.
pub(crate) fn edit(tensor: &Tensor, work: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    let op = Edit {
        work: RefCell::new(Some(work)),
        failure: RefCell::new(None),
    };
    let outcome = tensor.inplace_op1(&op);
    match op.failure.into_inner() {
        Some(error) => Err(error),
        None => Ok(outcome?),
    }
}

struct Edit<F> {
    work: RefCell<Option<F>>,
    // candle's error type cannot carry ours.
    failure: RefCell<Option<Error>>,
}

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Edit<F> {
    fn name(&self) -> &'static str {
        "edit"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let outcome = contiguous(layout).and_then(|range| match (storage, self.work.take()) {
            (CpuStorage::F32(values), Some(work)) => work(&mut values[range]),
            _ => Err(Error::internal("only f32 can be edited in place")),
        });
        if let Err(error) = outcome {
            self.failure.replace(Some(error));
        }
        Ok(())
    }
}

fn contiguous(layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => Err(Error::internal(format!(
            "a tensor of shape {:?} is not contiguous",
            layout.shape()
        ))),
    }
}
