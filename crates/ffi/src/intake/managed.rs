//! Tensors that the host takes over: it calls the deleter when it is done.

use std::ffi::c_void;

use crate::tensor::DLTensor;

/// As dlpack.h has it.
///
/// cbindgen:no-export
#[repr(C)]
pub struct DLManagedTensorVersioned {
    major: u32,
    minor: u32,
    manager_ctx: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut DLManagedTensorVersioned)>,
    flags: u64,
    dl_tensor: DLTensor,
}

/// The tensor is nobody else's: DLPACK_FLAG_BITMASK_IS_COPIED.
const IS_COPIED: u64 = 1 << 1;

/// What the tensor's pointers point into.
struct Owner {
    managed: DLManagedTensorVersioned,
    shape: Vec<i64>,
    strides: Vec<i64>,
    values: Vec<f32>,
}

/// A tensor of f32 on the CPU, row by row.
pub(crate) fn owned_tensor(shape: &[usize], values: Vec<f32>) -> *mut DLManagedTensorVersioned {
    let shape: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    // DLPack's code and width of f32; the pointers follow once nothing moves any more.
    let dl_tensor = DLTensor::of(std::ptr::null_mut(), 2, 32, &shape);
    let owner = Box::into_raw(Box::new(Owner {
        managed: DLManagedTensorVersioned {
            major: 1,
            minor: 0,
            manager_ctx: std::ptr::null_mut(),
            deleter: Some(delete),
            flags: IS_COPIED,
            dl_tensor,
        },
        shape,
        strides,
        values,
    }));
    // SAFETY: just made, and nobody else knows it; its vectors stay where they are until `delete`.
    unsafe {
        let tensor = &mut (*owner).managed.dl_tensor;
        tensor.data = (*owner).values.as_mut_ptr().cast();
        tensor.shape = (*owner).shape.as_ptr();
        tensor.strides = (*owner).strides.as_ptr();
        (*owner).managed.manager_ctx = owner.cast();
        &raw mut (*owner).managed
    }
}

unsafe extern "C" fn delete(tensor: *mut DLManagedTensorVersioned) {
    if tensor.is_null() {
        return;
    }
    // SAFETY: by DLPack's contract a tensor of ours, and this is its last use.
    unsafe { drop(Box::from_raw((*tensor).manager_ctx.cast::<Owner>())) }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_layout_is_dlpacks() {
        assert_eq!(size_of::<DLManagedTensorVersioned>(), 80);
        assert_eq!(offset_of!(DLManagedTensorVersioned, manager_ctx), 8);
        assert_eq!(offset_of!(DLManagedTensorVersioned, deleter), 16);
        assert_eq!(offset_of!(DLManagedTensorVersioned, flags), 24);
        assert_eq!(offset_of!(DLManagedTensorVersioned, dl_tensor), 32);
    }
}
