//! Tensors of the host: borrowed views in the layout of DLPack 1.x, checked before anything of them is read.

mod dlpack;

use std::ffi::c_void;

use halo_kernels::elements::{Elements, ElementsMut, bf16, f16};

use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::status::*;

pub(crate) use dlpack::{DLTensor, Dtype};

/// A tensor whose description was checked.
#[derive(Clone)]
pub(crate) struct Tensor {
    argument: usize,
    pub(crate) name: &'static str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    start: *mut c_void,
}

// SAFETY: a description. Its elements are reached through `Host` as slices, which threads may share, or written at the end.
unsafe impl Sync for Tensor {}

impl Host {
    /// A tensor that may be NULL, with as many dimensions as `dims`, each as long as `dims` says where it says so.
    ///
    /// # Errors
    /// Another number or length of dimensions, elements of a type that is not among `dtypes`, gaps between them, another device.
    pub(crate) fn tensor(
        &self,
        argument: usize,
        name: &'static str,
        tensor: *const DLTensor,
        dims: &[Option<usize>],
        dtypes: &[Dtype],
    ) -> Outcome<Option<Tensor>> {
        let Some([tensor]) = self.column(argument, name, tensor, 1)? else {
            return Ok(None);
        };
        let fail =
            |code, message: String| Err(Failure::new(code, name, message).argument(argument));
        // CPU memory, and CPU memory that is pinned for CUDA.
        if ![1, 3].contains(&tensor.device.kind) {
            let message = match tensor.device.kind {
                2 | 13 => format!("{name} lies on a CUDA device, and this build has no \"cuda\""),
                kind => format!("{name} lies on a device of DLPack's kind {kind}, not on the CPU"),
            };
            return fail(HALO_E_UNSUPPORTED, message);
        }
        let code = tensor.dtype;
        let known = |(_, class, bits, _): &&(Dtype, u8, u8, &str)| {
            (code.class, code.bits, code.lanes) == (*class, *bits, 1)
        };
        let dtype = Dtype::ALL.iter().find(known).map(|row| row.0);
        let Some(dtype) = dtype.filter(|dtype| dtypes.contains(dtype)) else {
            let names: Vec<&str> = dtypes.iter().map(|dtype| dtype.row().3).collect();
            let given = match dtype {
                Some(dtype) => dtype.row().3.to_string(),
                None => format!(
                    "DLPack's type {} of {} bits and {} lanes",
                    code.class, code.bits, code.lanes
                ),
            };
            return fail(
                HALO_E_DTYPE,
                format!("{name} is {given}, not {}", names.join(" or ")),
            );
        };
        if usize::try_from(tensor.ndim).ok() != Some(dims.len()) {
            let message = format!("{name} has {} dimensions, not {}", tensor.ndim, dims.len());
            return fail(HALO_E_SHAPE, message);
        }
        let shape = self.slice(argument, name, tensor.shape, dims.len())?;
        if shape.iter().any(|length| *length < 0) {
            return fail(HALO_E_SHAPE, format!("{name} has the shape {shape:?}"));
        }
        let lengths: Vec<usize> = shape.iter().map(|length| *length as usize).collect();
        for (at, (given, wanted)) in lengths.iter().zip(dims).enumerate() {
            if let Some(wanted) = wanted.filter(|wanted| wanted != given) {
                let message =
                    format!("{name} has {given} elements along dimension {at}, not {wanted}");
                return fail(HALO_E_SHAPE, message);
            }
        }
        let count = lengths
            .iter()
            .try_fold(1usize, |all, length| all.checked_mul(*length));
        if count.is_none_or(|count| count > isize::MAX as usize / 8) {
            let message = format!("{name} has the shape {shape:?}, more than memory holds");
            return fail(HALO_E_SHAPE, message);
        }
        let strides = self.column(argument, name, tensor.strides, dims.len())?;
        if let Some(strides) = strides.filter(|strides| !contiguous(&lengths, strides)) {
            let message = format!(
                "{name} has the shape {shape:?} and strides {strides:?}, which are not C-contiguous"
            );
            return fail(HALO_E_LAYOUT, message);
        }
        Ok(Some(Tensor {
            argument,
            name,
            dtype,
            shape: lengths,
            start: tensor.data.wrapping_byte_add(tensor.byte_offset as usize),
        }))
    }
}

/// Whether elements lie in C's order without gaps; a dimension of one element has any stride, an empty tensor any strides.
fn contiguous(shape: &[usize], strides: &[i64]) -> bool {
    let mut expected = 1;
    shape.contains(&0)
        || shape.iter().zip(strides).rev().all(|(length, stride)| {
            let fits = *length == 1 || *stride == expected;
            expected *= *length as i64;
            fits
        })
}

impl Tensor {
    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// A failure about this tensor.
    pub(crate) fn refuse(&self, code: halo_status, message: String) -> Failure {
        Failure::new(code, self.name, message).argument(self.argument)
    }

    /// Whether both are the same elements.
    pub(crate) fn is(&self, other: &Tensor) -> bool {
        self.start == other.start && self.dtype == other.dtype && self.shape == other.shape
    }

    /// Floating-point elements.
    ///
    /// # Errors
    /// NULL data, misaligned.
    pub(crate) fn elements<'a>(&self, host: &'a Host) -> Outcome<Elements<'a>> {
        let (argument, name, len) = (self.argument, self.name, self.len());
        Ok(match self.dtype {
            Dtype::Bf16 => {
                Elements::Bf16(host.slice(argument, name, self.start.cast_const().cast(), len)?)
            }
            Dtype::F16 => {
                Elements::F16(host.slice(argument, name, self.start.cast_const().cast(), len)?)
            }
            _ => Elements::F32(host.slice(argument, name, self.start.cast_const().cast(), len)?),
        })
    }

    /// The same widened, for a tensor of few.
    ///
    /// # Errors
    /// As [`Tensor::elements`].
    pub(crate) fn values(&self, host: &Host) -> Outcome<Vec<f32>> {
        let mut scratch = Vec::new();
        Ok(self
            .elements(host)?
            .widen(0..self.len(), &mut scratch)
            .to_vec())
    }

    /// Whole numbers.
    ///
    /// # Errors
    /// NULL data, misaligned.
    pub(crate) fn integers(&self, host: &Host) -> Outcome<Vec<i64>> {
        let (argument, name, len) = (self.argument, self.name, self.len());
        Ok(match self.dtype {
            Dtype::I64 => host
                .slice::<i64>(argument, name, self.start.cast_const().cast(), len)?
                .to_vec(),
            _ => host
                .slice::<i32>(argument, name, self.start.cast_const().cast(), len)?
                .iter()
                .map(|x| i64::from(*x))
                .collect(),
        })
    }

    /// Checks that results may be written here at the end.
    ///
    /// # Errors
    /// As [`Tensor::elements`].
    pub(crate) fn check(&self, host: &Host) -> Outcome {
        self.elements(host).map(|_| ())
    }

    /// Elements to be worked on where they are.
    ///
    /// # Errors
    /// As [`Tensor::elements`]; another tensor of the call shares memory with them.
    pub(crate) fn places<'a>(
        &self,
        host: &'a Host,
        others: &[&Tensor],
    ) -> Outcome<ElementsMut<'a>> {
        if let Some(other) = others.iter().find(|other| self.overlaps(other)) {
            let message = format!("{} shares memory with {}", self.name, other.name);
            return Err(self.refuse(HALO_E_INVALID_ARGUMENT, message));
        }
        let (argument, name, len) = (self.argument, self.name, self.len());
        // SAFETY: no other tensor of the call overlaps, and the call reads nothing but its tensors and small structs.
        Ok(unsafe {
            match self.dtype {
                Dtype::Bf16 => {
                    ElementsMut::Bf16(host.places(argument, name, self.start.cast(), len)?)
                }
                Dtype::F16 => {
                    ElementsMut::F16(host.places(argument, name, self.start.cast(), len)?)
                }
                _ => ElementsMut::F32(host.places(argument, name, self.start.cast(), len)?),
            }
        })
    }

    /// Writes results, one an element.
    ///
    /// # Errors
    /// As [`Tensor::elements`].
    pub(crate) fn write(&self, host: &Host, values: &[f32]) -> Outcome {
        let (argument, name, len) = (self.argument, self.name, self.len());
        let values = values.iter();
        match self.dtype {
            Dtype::Bf16 => host
                .outs(argument, name, self.start.cast(), len)?
                .write(values.map(|x| bf16::from_f32(*x))),
            Dtype::F16 => host
                .outs(argument, name, self.start.cast(), len)?
                .write(values.map(|x| f16::from_f32(*x))),
            _ => host
                .outs(argument, name, self.start.cast(), len)?
                .write(values.copied()),
        }
        Ok(())
    }

    fn overlaps(&self, other: &Tensor) -> bool {
        let range = |tensor: &Tensor| {
            let bytes = usize::from(tensor.dtype.row().2) / 8 * tensor.len();
            let start = tensor.start as usize;
            start..start.saturating_add(bytes)
        };
        let (a, b) = (range(self), range(other));
        a.start < b.end && b.start < a.end && !a.is_empty() && !b.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cs_order_without_gaps_is_contiguous() {
        for (shape, strides, fine) in [
            (&[3, 4][..], &[4, 1][..], true),
            (&[3, 4], &[1, 3], false),
            (&[3, 4], &[5, 1], false),
            (&[1, 4], &[77, 1], true),
            (&[3, 1], &[1, 9], true),
            (&[0, 4], &[9, 9], true),
            (&[3, 4], &[0, 1], false),
        ] {
            assert_eq!(contiguous(shape, strides), fine, "{shape:?} {strides:?}");
        }
    }
}
