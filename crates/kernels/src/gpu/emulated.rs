//! The emulated GPU: kernels compiled as C++, memory of the host.
//!
//! Fresh memory is filled with NaN, and canaries before and after every buffer tell of writes outside it. Under the address
//! sanitizer (`HALO_EMULATOR_SANITIZE=1`) reads outside a buffer are found too.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use half::bf16;

use super::Dtype;
use super::driver::{Driver, Gemm, Memory};
use crate::Error;
use crate::matmul::{Mat, MatMut, matmul};

unsafe extern "C" {
    /// Null, or the message of what went wrong, valid until the thread's next launch.
    fn halo_emulator_launch(
        name: *const c_char,
        grid: *const c_uint,
        block: c_uint,
        shared: usize,
        args: *mut *mut c_void,
        found: *mut c_int,
    ) -> *const c_char;
}

/// Bytes around a buffer; none under the sanitizer, whose own zones then lie directly beside it.
const ZONE: usize = if cfg!(halo_sanitize) { 0 } else { 256 };
const CANARY: u8 = 0xa5;
const ALIGN: usize = 256;

pub(super) fn open(bytes: usize) -> Result<Arc<dyn Driver>, Error> {
    Ok(Arc::new(Emulated {
        total: bytes,
        state: Mutex::default(),
    }))
}

struct Emulated {
    total: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes by address.
    buffers: BTreeMap<u64, usize>,
    memory: Memory,
    /// What went wrong, told at the next wait, as a GPU does.
    fault: Option<String>,
}

impl Emulated {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self, op: &'static str) -> Result<(), Error> {
        let mut state = self.state();
        let damaged = state
            .buffers
            .iter()
            .find(|(address, bytes)| !whole(**address, **bytes))
            .map(|(_, bytes)| outside(*bytes));
        match state.fault.take().or(damaged) {
            None => Ok(()),
            Some(fault) => Err(Error::device(op, fault)),
        }
    }
}

impl Driver for Emulated {
    fn name(&self) -> String {
        "emulated GPU".into()
    }

    /// Fibres take turns by a fixed rule.
    fn varies(&self) -> bool {
        false
    }

    fn alloc(&self, bytes: usize) -> Result<u64, Error> {
        let mut state = self.state();
        let free = self.total.saturating_sub(state.memory.in_use);
        if bytes > free {
            return Err(Error::out_of_memory("Gpu::alloc", bytes, free, self.total));
        }
        let layout = layout(bytes)?;
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            return Err(Error::out_of_memory("Gpu::alloc", bytes, free, self.total));
        }
        // SAFETY: the zones and the buffer lie within what was just allocated.
        unsafe {
            start.write_bytes(CANARY, layout.size());
            start.add(ZONE).write_bytes(0xff, bytes);
        }
        let address = start as u64 + ZONE as u64;
        state.buffers.insert(address, bytes);
        state.memory.in_use += bytes;
        state.memory.peak = state.memory.peak.max(state.memory.in_use);
        Ok(address)
    }

    fn free(&self, address: u64, bytes: usize) {
        let mut state = self.state();
        if state.buffers.remove(&address).is_none() {
            state.fault = Some(format!("{address:#x} was freed, but is no buffer"));
            return;
        }
        if !whole(address, bytes) {
            state.fault = Some(outside(bytes));
        }
        state.memory.in_use -= bytes;
        if let Ok(layout) = layout(bytes) {
            // SAFETY: `alloc` gave this memory with this layout, and it has just left the map of what is live.
            unsafe { dealloc((address - ZONE as u64) as *mut u8, layout) };
        }
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error> {
        // SAFETY: a slice uploads into its own memory, as many bytes as it has.
        unsafe { (to as *mut u8).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.settled("Slice::download")?;
        // SAFETY: a slice downloads its own memory, as many bytes as it has.
        unsafe {
            bytes
                .as_mut_ptr()
                .copy_from_nonoverlapping(from as *const u8, bytes.len())
        };
        Ok(())
    }

    fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), Error> {
        // SAFETY: both slices have so many bytes; they may be the same.
        unsafe { (to as *mut u8).copy_from(from as *const u8, bytes) };
        Ok(())
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<(), Error> {
        // SAFETY: the slice has so many bytes.
        unsafe { (to as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared: usize,
        args: &mut [*mut c_void],
    ) -> Result<(), Error> {
        let name = CString::new(kernel).map_err(|_| Error::device("launch", kernel.into()))?;
        let mut found = 0;
        // SAFETY: the caller vouches for the arguments; the name and the grid live through the call.
        let fault = unsafe {
            let (grid, args) = (grid.as_ptr(), args.as_mut_ptr());
            halo_emulator_launch(name.as_ptr(), grid, block, shared, args, &mut found)
        };
        if found == 0 {
            return Err(Error::device(
                "launch",
                format!("there is no kernel {kernel}"),
            ));
        }
        if !fault.is_null() {
            // SAFETY: the emulator's message ends with a zero and lives until this thread's next launch.
            let fault = unsafe { CStr::from_ptr(fault) }.to_string_lossy();
            self.state().fault = Some(format!("{kernel}: {fault}"));
        }
        Ok(())
    }

    unsafe fn gemm(&self, gemm: &Gemm) -> Result<(), Error> {
        let Gemm { m, n, k, .. } = *gemm;
        // SAFETY: the caller vouches for the three matrices' sizes.
        let (a, b, old) = unsafe {
            let old = if gemm.beta == 0.0 { 0 } else { m * n };
            (
                read(gemm.a, gemm.operands, m * k),
                read(gemm.b, gemm.operands, k * n),
                read(gemm.c, gemm.output, old),
            )
        };
        let mut c = if old.is_empty() {
            vec![0.0; m * n]
        } else {
            old
        };
        let view = |values, [rows, cols]: [usize; 2], transposed| match transposed {
            true => Mat::new(values, cols, rows).map(Mat::t),
            false => Mat::new(values, rows, cols),
        };
        matmul(
            MatMut::new(&mut c, m, n)?,
            gemm.beta,
            gemm.alpha,
            view(&a, [m, k], gemm.transpose_a)?,
            view(&b, [k, n], gemm.transpose_b)?,
        )?;
        // SAFETY: as above.
        unsafe { write(gemm.c, gemm.output, &c) };
        Ok(())
    }

    fn memory(&self) -> Result<Memory, Error> {
        let memory = self.state().memory;
        Ok(Memory {
            free: self.total - memory.in_use,
            total: self.total,
            ..memory
        })
    }

    fn synchronize(&self) -> Result<(), Error> {
        self.settled("Gpu::synchronize")
    }
}

fn layout(bytes: usize) -> Result<Layout, Error> {
    Layout::from_size_align(bytes + 2 * ZONE, ALIGN)
        .map_err(|_| Error::device("Gpu::alloc", format!("{bytes} bytes are too many")))
}

/// Whether the zones beside a buffer are as they were made.
fn whole(address: u64, bytes: usize) -> bool {
    // SAFETY: both zones belong to the buffer's allocation, which is live.
    let zones = unsafe {
        [
            std::slice::from_raw_parts((address - ZONE as u64) as *const u8, ZONE),
            std::slice::from_raw_parts((address + bytes as u64) as *const u8, ZONE),
        ]
    };
    zones
        .iter()
        .all(|zone| zone.iter().all(|byte| *byte == CANARY))
}

fn outside(bytes: usize) -> String {
    format!("a kernel wrote outside a buffer of {bytes} bytes")
}

/// # Safety
/// So many elements lie there.
unsafe fn read(address: u64, dtype: Dtype, len: usize) -> Vec<f32> {
    match dtype {
        // SAFETY: the caller's.
        Dtype::F32 => unsafe { std::slice::from_raw_parts(address as *const f32, len) }.to_vec(),
        // SAFETY: the caller's; only these two dtypes reach a product.
        _ => unsafe { std::slice::from_raw_parts(address as *const bf16, len) }
            .iter()
            .map(|value| value.to_f32())
            .collect(),
    }
}

/// # Safety
/// So many elements have room there.
unsafe fn write(address: u64, dtype: Dtype, values: &[f32]) {
    match dtype {
        // SAFETY: the caller's.
        Dtype::F32 => unsafe { std::slice::from_raw_parts_mut(address as *mut f32, values.len()) }
            .copy_from_slice(values),
        // SAFETY: the caller's.
        _ => unsafe { std::slice::from_raw_parts_mut(address as *mut bf16, values.len()) }
            .iter_mut()
            .zip(values)
            .for_each(|(rounded, value)| *rounded = bf16::from_f32(*value)),
    }
}
