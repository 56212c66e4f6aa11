//! DLPack's tensor as memory, and the types of elements that the library reads.

use std::ffi::c_void;

use crate::intake::Plain;

/// As dlpack.h has it; the layout is frozen by rule D1 of the header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DLTensor {
    pub(crate) data: *mut c_void,
    pub(crate) device: Device,
    pub(crate) ndim: i32,
    pub(crate) dtype: Code,
    pub(crate) shape: *const i64,
    pub(crate) strides: *const i64,
    pub(crate) byte_offset: u64,
}
// SAFETY: numbers and pointers without padding; the test below holds the offsets.
unsafe impl Plain for DLTensor {}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    pub(crate) kind: i32,
    pub(crate) id: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Code {
    pub(crate) class: u8,
    pub(crate) bits: u8,
    pub(crate) lanes: u16,
}

/// Types of elements that this version reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dtype {
    F32,
    Bf16,
    F16,
    I32,
    I64,
}

impl Dtype {
    /// (class, bits) as DLPack counts them, and the name.
    pub(super) const ALL: [(Dtype, u8, u8, &'static str); 5] = [
        (Dtype::F32, 2, 32, "f32"),
        (Dtype::Bf16, 4, 16, "bf16"),
        (Dtype::F16, 2, 16, "f16"),
        (Dtype::I32, 0, 32, "i32"),
        (Dtype::I64, 0, 64, "i64"),
    ];

    pub(super) fn row(self) -> (Dtype, u8, u8, &'static str) {
        Dtype::ALL[self as usize]
    }
}

impl DLTensor {
    /// Without gaps, on the CPU; the shape must outlive it.
    pub(crate) fn of(data: *mut c_void, class: u8, bits: u8, shape: &[i64]) -> DLTensor {
        DLTensor {
            data,
            device: Device { kind: 1, id: 0 },
            ndim: shape.len() as i32,
            dtype: Code {
                class,
                bits,
                lanes: 1,
            },
            shape: shape.as_ptr(),
            strides: std::ptr::null(),
            byte_offset: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_layout_is_dlpacks() {
        let offsets = [
            offset_of!(DLTensor, data),
            offset_of!(DLTensor, device),
            offset_of!(DLTensor, ndim),
            offset_of!(DLTensor, dtype),
            offset_of!(DLTensor, shape),
            offset_of!(DLTensor, strides),
            offset_of!(DLTensor, byte_offset),
        ];
        assert_eq!(offsets, [0, 8, 16, 20, 24, 32, 40]);
        assert_eq!(size_of::<DLTensor>(), 48);
        let fields = size_of::<(Device, Code)>() + 4 + 4 * 8;
        assert_eq!(fields, 48, "padding");
    }
}
