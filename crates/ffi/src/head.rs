//! The head: log-probabilities of tokens without a buffer of tokens by vocabulary, forward and back.

mod backward;
mod forward;
mod inputs;
#[cfg(test)]
mod tests;

use std::ffi::c_void;

use crate::guard::guard;
use crate::intake::Sized32;
use crate::status::*;
use crate::tensor::DLTensor;
use inputs::{Inputs, exec};

/// Ask for results that do not depend on scheduling. On the CPU they never do, for a given number of threads.
pub const HALO_EXEC_DETERMINISTIC: u32 = 1;
/// In device_status: a result is NaN or infinite.
pub const HALO_DEVICE_NONFINITE: u32 = 1;
/// In device_status: a target lies outside the vocabulary; its row gives 0.
pub const HALO_DEVICE_BAD_TARGET: u32 = 2;
/// Add into d_weight and d_bias instead of overwriting them.
pub const HALO_GRADS_ACCUMULATE: u32 = 1;

/// Where work on a device runs. A build without "cuda" takes tensors of the CPU only, and looks at the flags only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_exec {
    /// sizeof(halo_exec) as the host compiled it.
    pub struct_size: u32,
    /// HALO_EXEC_*.
    pub flags: u32,
    /// CUstream of the device's primary context; NULL = legacy default.
    pub stream: *mut c_void,
    /// Device memory of the host, as halo_head_workspace says.
    pub workspace: *mut c_void,
    /// How many bytes of it.
    pub workspace_size: usize,
    /// On the device: HALO_DEVICE_* are ORed in, so that nobody must synchronise; NULL = not wanted.
    pub device_status: *mut i32,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_exec {
    const NAME: &'static str = "halo_exec";
}

/// What log-probabilities are made of: n hidden states and an output matrix, or n rows of logits. With x = hidden * weight^T +
/// bias, or the logits: z = softcap * tanh(x / softcap) / temperature, and logp = z[target] - ln(sum(exp(z))). Types may differ
/// between tensors; all arithmetic is f32.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_head {
    /// sizeof(halo_head) as the host compiled it.
    pub struct_size: u32,
    /// 0.
    pub flags: u32,
    /// f32, bf16 or f16 [n,h].
    pub hidden: *const DLTensor,
    /// f32, bf16 or f16 [v,h].
    pub weight: *const DLTensor,
    /// f32, bf16 or f16 [v]; NULL = none. Without softcap, -infinity masks a word out.
    pub bias: *const DLTensor,
    /// f32, bf16 or f16 [n,v] instead of the three above.
    pub logits: *const DLTensor,
    /// i32 or i64 [n]; a negative one skips the row, whose results are 0.
    pub targets: *const DLTensor,
    /// Divides the logits; 0 = 1.
    pub temperature: f64,
    /// Gemma's: 30 there; 0 = none.
    pub softcap: f64,
    /// Rows at once: each chunk reads the weight once; 0 = the library's choice.
    pub chunk: u64,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_head {
    const NAME: &'static str = "halo_head";
}

/// What forward gives: it fills what is not NULL. Backward reads lse, and entropy if d_entropy is given.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_head_stats {
    /// sizeof(halo_head_stats) as the host compiled it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// f32 [n]: ln p(target), nats.
    pub logp: *mut DLTensor,
    /// f32 [n]: ln(sum(exp(z))), which backward needs.
    pub lse: *mut DLTensor,
    /// f32 [n]: -sum(p * ln p) over the vocabulary, nats.
    pub entropy: *mut DLTensor,
    /// f32 or hidden's type [n,h]: d logp / d hidden. Scaled row by row it is d_hidden of a frozen weight, without a backward.
    pub unit_d_hidden: *mut DLTensor,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_head_stats {
    const NAME: &'static str = "halo_head_stats";
}

/// Gradients: what comes in and what goes out. Those that go out are f32 or have their tensor's type; NULL = not wanted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_head_grads {
    /// sizeof(halo_head_grads) as the host compiled it.
    pub struct_size: u32,
    /// HALO_GRADS_*.
    pub flags: u32,
    /// f32 [n].
    pub d_logp: *const DLTensor,
    /// f32 [n]; NULL = 0.
    pub d_entropy: *const DLTensor,
    /// [n,h].
    pub d_hidden: *mut DLTensor,
    /// [v,h]; of half width it is rounded once a chunk of rows.
    pub d_weight: *mut DLTensor,
    /// [v].
    pub d_bias: *mut DLTensor,
    /// [n,v]; may be the logits themselves.
    pub d_logits: *mut DLTensor,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_head_grads {
    const NAME: &'static str = "halo_head_grads";
}

/// How much device memory forward and backward of such a head want from exec; 0 on the CPU.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_head_workspace(
    head: *const halo_head,
    bytes: *mut usize,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let head = host.options(0, head)?;
            let out = host.out(1, "bytes", bytes)?;
            Inputs::read(host, &head)?;
            out.write(0);
            Ok(())
        })
    }
}

/// Scores n targets: fills what is not NULL in stats. HALO_E_INVALID_ARGUMENT with the row for a target outside the vocabulary,
/// HALO_E_NONFINITE with the row for a result that is NaN or infinite; nothing is written then.
///
/// @since 0.1
/// @null exec
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_head_forward(
    head: *const halo_head,
    stats: *const halo_head_stats,
    exec: *const halo_exec,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (head, stats) = (host.options(0, head)?, host.options(1, stats)?);
            self::exec(host, 2, exec)?;
            forward::run(host, &Inputs::read(host, &head)?, &stats)
        })
    }
}

/// Gradients of sum(d_logp * logp) + sum(d_entropy * entropy). It computes the logits a second time, chunk by chunk, from what
/// forward got, and reads lse (and entropy) as forward gave them.
///
/// NaN and infinity in what it reads are found before anything is written. Should a gradient overflow although all of that is
/// finite, HALO_E_NONFINITE leaves part of the result in d_weight. f16 gradients may round to infinity, which is what loss
/// scaling looks for.
///
/// @since 0.1
/// @null exec
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_head_backward(
    head: *const halo_head,
    stats: *const halo_head_stats,
    grads: *const halo_head_grads,
    exec: *const halo_exec,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (head, stats) = (host.options(0, head)?, host.options(1, stats)?);
            let grads = host.options(2, grads)?;
            self::exec(host, 3, exec)?;
            backward::run(host, &Inputs::read(host, &head)?, &stats, &grads)
        })
    }
}
