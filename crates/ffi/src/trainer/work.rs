//! What the host is asked for and what it answers, in C's words.

use std::ffi::c_void;

use crate::intake::Sized32;

/// What is to be done. Answer a kind that you do not know with a host_code: all ranks learn of it.
pub type halo_work_kind = u32;
/// Compute log-probabilities. Answer: values, as flags say.
pub const HALO_WORK_FORWARD: halo_work_kind = 1;
/// Add values up over the ranks, element by element. Answer: the sums, on every rank the same bits. Only with several ranks.
pub const HALO_WORK_REDUCE: halo_work_kind = 2;
/// Add the gradient of the rows of a HALO_WORK_FORWARD to the step's; values are d loss / d logp to seed it with.
pub const HALO_WORK_BACKWARD: halo_work_kind = 3;
/// SUM the gradients over the ranks (or average them, with gradient_reduce = "mean"), clip, step, zero. Answer: grad_norm.
pub const HALO_WORK_OPTIMIZER_STEP: halo_work_kind = 4;
/// Save the model and what halo_trainer_save gives.
pub const HALO_WORK_CHECKPOINT: halo_work_kind = 5;
/// The run is over; nothing is to be answered.
pub const HALO_WORK_DONE: halo_work_kind = 6;
/// Move the reference model towards the policy: reference = mix * policy + (1 - mix) * reference.
pub const HALO_WORK_SYNC_REFERENCE: halo_work_kind = 7;

/// Of HALO_WORK_FORWARD: run the reference model, not the policy. Its answers may come from a cache.
pub const HALO_WORK_REFERENCE: u32 = 1;
/// One value for each scored token, row after row, instead of one for each row.
pub const HALO_WORK_TOKENS: u32 = 2;
/// One score of a reward head for each row, read at its last token, instead of a log-probability.
pub const HALO_WORK_SCORES: u32 = 4;
/// Of HALO_WORK_FORWARD with HALO_WORK_TOKENS: also log_collisions.
pub const HALO_WORK_COLLISIONS: u32 = 8;

/// What to do next. Written by halo_trainer_next, as far as the host's struct_size goes.
///
/// Row i is tokens offsets[i] to offsets[i + 1]: a prompt, then the completion, whose tokens are scored. Behind an empty prompt the
/// completion's first token is context and not scored.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_work {
    /// sizeof(halo_work) as the host compiled it.
    pub struct_size: u32,
    /// HALO_WORK_*.
    pub kind: halo_work_kind,
    /// For the answer.
    pub id: u64,
    /// The optimizer step that it belongs to, from 1; of HALO_WORK_CHECKPOINT the steps completed.
    pub step: u64,
    /// Of HALO_WORK_BACKWARD: through which HALO_WORK_FORWARD. Its rows are here again.
    pub forward_id: u64,
    /// Of HALO_WORK_FORWARD and HALO_WORK_BACKWARD: how many backward passes of this step are done.
    pub micro_batch: u32,
    /// HALO_WORK_REFERENCE, _TOKENS, _SCORES, _COLLISIONS.
    pub flags: u32,
    /// Sequences.
    pub rows: usize,
    /// The first so many of them will see a HALO_WORK_BACKWARD; 0 = none, keep no tape.
    pub grad_rows: usize,
    /// Where each row begins in tokens, and the end. @len rows+1
    pub offsets: *const i64,
    /// How many tokens of each row are prompt. @len rows
    pub prompt_tokens: *const i32,
    /// Equal = the same prompt: a host that can shares its computation. @len rows
    pub group: *const u64,
    /// All rows' tokens. @len offsets[rows]
    pub tokens: *const i32,
    /// Of HALO_WORK_REDUCE and HALO_WORK_BACKWARD, there for the grad_rows or their scored tokens. @len value_count
    pub values: *const f64,
    /// How many values there are; of HALO_WORK_FORWARD, how many are awaited.
    pub value_count: usize,
    /// Of HALO_WORK_OPTIMIZER_STEP.
    pub learning_rate: f64,
    /// Of HALO_WORK_SYNC_REFERENCE, over 0 and at most 1.
    pub mix: f64,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_work {
    const NAME: &'static str = "halo_work";
}

/// What came of a work.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_answer {
    /// sizeof(halo_answer) as the host compiled it.
    pub struct_size: u32,
    /// Nonzero = it could not be done.
    pub host_code: i32,
    /// halo_work.id.
    pub work_id: u64,
    /// Of values and log_collisions: HALO_F32 or HALO_F64.
    pub dtype: u32,
    /// 0.
    pub reserved: u32,
    /// Of HALO_WORK_FORWARD (sums over the completion, nats) and HALO_WORK_REDUCE. @len value_count @dtype
    pub values: *const c_void,
    /// As many as halo_work.value_count.
    pub value_count: usize,
    /// With HALO_WORK_COLLISIONS: ln of the sum of squared probabilities over the vocabulary. @len value_count @dtype
    pub log_collisions: *const c_void,
    /// Of HALO_WORK_OPTIMIZER_STEP: the norm of the whole gradient before clipping; 0 if it is not known.
    pub grad_norm: f64,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_answer {
    const NAME: &'static str = "halo_answer";
}
