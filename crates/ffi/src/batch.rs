//! Rows of sequences: one vocabulary for every shape of data, from the host's columns to the loss's rows.

mod columns;
mod rows;

use std::ffi::c_void;

use crate::intake::Sized32;

pub(crate) use columns::Columns;
pub(crate) use rows::{Picked, Role};

/// Elements are 32-bit floating-point numbers.
pub const HALO_F32: u32 = 1;
/// Elements are 64-bit floating-point numbers.
pub const HALO_F64: u32 = 2;

/// The row takes part in the loss.
pub const HALO_ROLE_SCORED: u8 = 0;
/// Prompt x with another prompt's completion y': read by reference points, gets no gradient.
pub const HALO_ROLE_MISMATCH: u8 = 1;

/// Rows of sequences in host memory, borrowed for the call. Which columns a loss reads says halo_loss_describe; the others are
/// ignored.
///
/// Unpaired losses (KTO, BCO) read label. Paired ones (DPO, IPO) read label and group: one +1 and one -1 in each group. Grouped
/// ones (GRPO, RLOO) read group and reward, or advantage. Log-probabilities are sums over the completion in nats.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_batch {
    /// sizeof(halo_batch) as the host compiled it.
    pub struct_size: u32,
    /// Of the `const void *` columns: HALO_F32 or HALO_F64.
    pub dtype: u32,
    /// How many rows there are.
    pub rows: usize,
    /// +1 desirable or chosen, -1 undesirable or rejected. @len rows
    pub label: *const i8,
    /// HALO_ROLE_*; NULL = all scored. @len rows
    pub role: *const u8,
    /// Equal = belong together; NULL for pairs = each +1 row is followed by its -1 row. @len rows
    pub group: *const u64,
    /// Completion tokens; NULL = counted from offsets. @len rows
    pub tokens: *const i32,
    /// ln p(y|x) of the policy; NULL = summed from token_logp. @len rows @dtype
    pub logp: *const c_void,
    /// The same of the reference model; NULL = summed from token_ref_logp. @len rows @dtype
    pub ref_logp: *const c_void,
    /// The same at sampling time; NULL = summed from token_old_logp. @len rows @dtype
    pub old_logp: *const c_void,
    /// From a judge or rule. @len rows @dtype
    pub reward: *const c_void,
    /// Instead of reward, when the host computed it. @len rows @dtype
    pub advantage: *const c_void,
    /// Multiplies the row's loss, of a pair the +1 row's counts; NULL = 1. @len rows @dtype
    pub weight: *const c_void,
    /// The row's beta in units of the loss's; NULL = 1. @len rows @dtype
    pub beta_scale: *const c_void,
    /// z0 a row (halo_refpoint_apply); NULL = common_refpoint. @len rows
    pub refpoint: *const f64,
    /// Row i's tokens are offsets[i] to offsets[i + 1] of the token columns; offsets[0] = 0. NULL = no token columns. @len rows+1
    pub offsets: *const i64,
    /// 0 where a token does not count; NULL = all count. @len tokens
    pub token_mask: *const u8,
    /// ln p of each token, policy. @len tokens @dtype
    pub token_logp: *const c_void,
    /// The same, reference model. @len tokens @dtype
    pub token_ref_logp: *const c_void,
    /// The same at sampling time. @len tokens @dtype
    pub token_old_logp: *const c_void,
    /// ln of the sum of squared probabilities of the distribution that the token was drawn from. @len tokens @dtype
    pub token_log_collision: *const c_void,
    /// z0 of all rows, nats.
    pub common_refpoint: f64,
    /// Scored rows (or pairs) of ALL micro-batches and ranks, as halo_loss_count adds them up; 0 = this batch is all.
    pub global_count: f64,
    /// Their completion tokens, for losses that divide by tokens; 0 = this batch is all.
    pub global_tokens: f64,
    /// Those of the desirable rows, for a likelihood beside a preference; 0 = this batch is all.
    pub global_desirable_tokens: f64,
    /// Multiplies gradients: loss scaling of mixed precision; 0 = 1.
    pub grad_scale: f64,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_batch {
    const NAME: &'static str = "halo_batch";
}
