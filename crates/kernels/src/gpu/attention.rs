//! Attention over the segments of a pack, as [`crate::attention`], on the device.
//!
//! bf16 with a head dimension of a multiple of 8 up to 128 runs on the tensor cores, all else on the FMA units. Slices may be longer
//! than the layout's rows; the rest is neither read nor written.

mod plan;

pub use plan::Plan;

use super::launch::Launch;
use super::{Dtype, Gpu, Slice};
use crate::Error;
use crate::attention::{Shape, at_least};
use plan::{EVERYTHING, TILE, Tiles};

/// Columns that a lane of the FMA form holds, times its 32 lanes.
const LONGEST: usize = 256;

/// Threads of a block of the tensor-core form: four warps of 16 rows.
const TENSOR_THREADS: usize = 128;

/// o (N, H, E) and lse (N, H) from q (N, H, E), k and v (N, K, E).
///
/// # Errors
/// A slice shorter than the plan's rows or of another type; a head dimension above 256; the device.
pub fn forward(
    q: &Slice,
    k: &Slice,
    v: &Slice,
    o: &Slice,
    lse: &Slice,
    plan: &Plan,
    shape: &Shape,
) -> Result<(), Error> {
    let op = "gpu::attention::forward";
    shape.check(op)?;
    let (wide, narrow) = (shape.q_width(), shape.kv_width());
    let like = q.dtype();
    check(op, "q", q, like, plan.rows * wide)?;
    check(op, "k", k, like, plan.rows * narrow)?;
    check(op, "v", v, like, plan.rows * narrow)?;
    check(op, "o", o, like, plan.rows * wide)?;
    check(op, "lse", lse, Dtype::F32, plan.rows * shape.heads)?;
    let form = Form::of(op, shape, &[q, k, v, o])?;
    form.run(
        q.gpu(),
        Pass::Forward,
        like,
        (&plan.queries, shape.heads),
        &[q, k, v, o, lse],
        plan,
        shape,
    )
}

/// dq (N, H, E), dk and dv (N, K, E), written for the plan's rows, from what [`forward`] read and gave and the gradient of its
/// output. The plan is of the gradient segments only; they stand first in a pack.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    q: &Slice,
    k: &Slice,
    v: &Slice,
    o: &Slice,
    lse: &Slice,
    d_o: &Slice,
    dq: &Slice,
    dk: &Slice,
    dv: &Slice,
    plan: &Plan,
    shape: &Shape,
) -> Result<(), Error> {
    let op = "gpu::attention::backward";
    shape.check(op)?;
    let (wide, narrow) = (shape.q_width(), shape.kv_width());
    let like = q.dtype();
    for (name, slice, width) in [
        ("q", q, wide),
        ("k", k, narrow),
        ("v", v, narrow),
        ("o", o, wide),
        ("d_o", d_o, wide),
        ("dq", dq, wide),
        ("dk", dk, narrow),
        ("dv", dv, narrow),
    ] {
        check(op, name, slice, like, plan.rows * width)?;
    }
    check(op, "lse", lse, Dtype::F32, plan.rows * shape.heads)?;
    let form = Form::of(op, shape, &[q, k, v, d_o, dq, dk, dv])?;

    let gpu = q.gpu();
    let rows = plan.rows * shape.heads;
    let delta = &gpu.alloc(Dtype::F32, rows)?;
    Launch::new(gpu, "attention_delta")
        .slice(o)
        .slice(d_o)
        .slice(delta)
        .size(rows)
        .unsigned(shape.head_dim)?
        .run(like, [rows.div_ceil(4), 1, 1], 128, 0)?;
    form.run(
        gpu,
        Pass::Keys,
        like,
        (&plan.keys, shape.kv_heads),
        &[q, k, v, d_o, lse, delta, dk, dv],
        plan,
        shape,
    )?;
    form.run(
        gpu,
        Pass::Queries,
        like,
        (&plan.queries, shape.heads),
        &[q, k, v, d_o, lse, delta, dq],
        plan,
        shape,
    )
}

/// The caches of some sequences: `k` and `v` (slots, capacity, K, E).
#[derive(Clone, Debug)]
pub struct Caches {
    /// Keys, rotated.
    pub k: Slice,
    /// Values.
    pub v: Slice,
    /// Tokens that a slot has room for.
    pub capacity: usize,
}

/// Writes k and v (R, K, E) of the newest tokens: those of sequence r at `lengths[r]` of slot `slots[r]`, both (R) u32.
///
/// The caller sees to it that lengths are below the capacity and slots exist and differ: they are on the device.
///
/// # Errors
/// A slice of another length or type; the device.
pub fn append(
    k: &Slice,
    v: &Slice,
    caches: &Caches,
    lengths: &Slice,
    slots: &Slice,
    shape: &Shape,
) -> Result<(), Error> {
    let op = "gpu::attention::append";
    shape.check(op)?;
    let sequences = caches.check(op, k.dtype(), lengths, slots, shape)?;
    k.expect(op, "k", k.dtype(), sequences * shape.kv_width())?;
    v.expect(op, "v", k.dtype(), sequences * shape.kv_width())?;
    Launch::new(k.gpu(), "attention_append")
        .slice(k)
        .slice(v)
        .slice(&caches.k)
        .slice(&caches.v)
        .slice(lengths)
        .slice(slots)
        .size(caches.capacity)
        .size(shape.kv_width())
        .run(k.dtype(), [sequences, 1, 1], 256, 0)
}

/// Attention of the newest token of each sequence, whose key and value [`append`] wrote: q (R, H, E) → o (R, H, E).
///
/// `lengths` and `slots` are those that [`append`] took: sequence r sees its `lengths[r]` tokens and the newest. A window sees the
/// last `window` of them.
///
/// # Errors
/// A slice of another length or type; a head dimension above 256; the device.
pub fn cached(
    q: &Slice,
    caches: &Caches,
    lengths: &Slice,
    slots: &Slice,
    o: &Slice,
    window: Option<usize>,
    shape: &Shape,
) -> Result<(), Error> {
    let op = "gpu::attention::cached";
    shape.check(op)?;
    if shape.head_dim > LONGEST {
        return Err(Error::shape(op, "head_dim is above 256"));
    }
    let sequences = caches.check(op, q.dtype(), lengths, slots, shape)?;
    q.expect(op, "q", q.dtype(), sequences * shape.q_width())?;
    o.expect(op, "o", q.dtype(), sequences * shape.q_width())?;
    let warps = 8;
    let shared = warps * (shape.head_dim + 2) * size_of::<f32>();
    Launch::new(q.gpu(), "attention_cached")
        .slice(q)
        .slice(&caches.k)
        .slice(&caches.v)
        .slice(o)
        .slice(lengths)
        .slice(slots)
        .size(caches.capacity)
        .unsigned(shape.heads)?
        .unsigned(shape.kv_heads)?
        .unsigned(shape.head_dim)?
        .float(shape.scale)
        .unsigned(window.map_or(EVERYTHING, |w| w.min(EVERYTHING)))?
        .run(
            q.dtype(),
            [sequences * shape.heads, 1, 1],
            32 * warps as u32,
            shared,
        )
}

impl Caches {
    /// The number of sequences.
    fn check(
        &self,
        op: &'static str,
        dtype: Dtype,
        lengths: &Slice,
        slots: &Slice,
        shape: &Shape,
    ) -> Result<usize, Error> {
        lengths.expect(op, "lengths", Dtype::U32, lengths.len())?;
        slots.expect(op, "slots", Dtype::U32, lengths.len())?;
        let slot = self.capacity * shape.kv_width();
        let whole = self.k.len() / slot.max(1) * slot;
        self.k.expect(op, "caches.k", dtype, whole)?;
        self.v.expect(op, "caches.v", dtype, whole)?;
        Ok(lengths.len())
    }
}

#[derive(Clone, Copy)]
enum Pass {
    Forward,
    Keys,
    Queries,
}

impl Pass {
    fn tensor(self, padded: usize) -> &'static str {
        match (self, padded) {
            (Pass::Forward, 64) => "attention_forward_64",
            (Pass::Forward, 96) => "attention_forward_96",
            (Pass::Forward, _) => "attention_forward_128",
            (Pass::Keys, 64) => "attention_backward_keys_64",
            (Pass::Keys, 96) => "attention_backward_keys_96",
            (Pass::Keys, _) => "attention_backward_keys_128",
            (Pass::Queries, 64) => "attention_backward_queries_64",
            (Pass::Queries, 96) => "attention_backward_queries_96",
            (Pass::Queries, _) => "attention_backward_queries_128",
        }
    }

    fn plain(self) -> &'static str {
        match self {
            Pass::Forward => "attention_forward",
            Pass::Keys => "attention_backward_keys",
            Pass::Queries => "attention_backward_queries",
        }
    }
}

/// Which kernels run.
#[derive(Clone, Copy)]
enum Form {
    /// Tensor cores, heads padded with zeros to this many columns.
    Tensor(usize),
    Plain,
}

impl Form {
    /// `slices` are those that the tensor-core form moves in pieces of 16 bytes, or of 4.
    fn of(op: &'static str, shape: &Shape, slices: &[&Slice]) -> Result<Form, Error> {
        let e = shape.head_dim;
        let aligned = slices.iter().all(|s| s.address().is_multiple_of(16));
        let bf16 = slices.iter().all(|s| s.dtype() == Dtype::Bf16);
        let padded = [64, 96, 128].into_iter().find(|&padded| e <= padded);
        match padded {
            Some(padded) if bf16 && aligned && e.is_multiple_of(8) => Ok(Form::Tensor(padded)),
            _ if e > LONGEST => Err(Error::shape(op, "head_dim is above 256")),
            _ => Ok(Form::Plain),
        }
    }

    /// One kernel over all tiles of one side and all heads of theirs.
    fn run(
        self,
        gpu: &Gpu,
        pass: Pass,
        dtype: Dtype,
        (tiles, heads): (&Tiles, usize),
        slices: &[&Slice],
        plan: &Plan,
        shape: &Shape,
    ) -> Result<(), Error> {
        let e = shape.head_dim;
        let (name, blocks, threads, shared) = match self {
            Form::Tensor(padded) => {
                // Rows of 16-bit elements: two tiles of 64 forward, four of 64 backward; then lse and D of two stages of 32.
                let (rows, floats) = match pass {
                    Pass::Forward => (128, 0),
                    Pass::Keys => (256, 128),
                    Pass::Queries => (256, 0),
                };
                let shared = rows * (padded + 8) * 2 + floats * 4;
                (pass.tensor(padded), tiles.count, TENSOR_THREADS, shared)
            }
            Form::Plain => {
                // Fewer rows where they are long, for the sake of shared memory.
                let own = if e <= 128 { 32 } else { 8 };
                let (rows, weights) = match pass {
                    Pass::Forward => (own + 32, 32 * own),
                    Pass::Keys => (2 * own + 64, 64 * own),
                    Pass::Queries => (2 * own + 64, 32 * own),
                };
                let shared = (rows * (e | 1) + weights) * 4;
                (pass.plain(), tiles.count * (TILE / own), 8 * own, shared)
            }
        };
        slices
            .iter()
            .fold(Launch::new(gpu, name), |launch, slice| launch.slice(slice))
            .slice(&tiles.tiles)
            .slice(&tiles.parts)
            .unsigned(shape.heads)?
            .unsigned(shape.kv_heads)?
            .unsigned(e)?
            .float(shape.scale)
            .unsigned(plan.window)?
            .run(dtype, [blocks * heads, 1, 1], threads as u32, shared)
    }
}

/// A slice of `dtype` with `needed` elements or more.
fn check(
    op: &'static str,
    argument: &'static str,
    slice: &Slice,
    dtype: Dtype,
    needed: usize,
) -> Result<(), Error> {
    if slice.dtype() != dtype {
        return Err(Error::dtype(op, argument, slice.dtype(), dtype));
    }
    at_least(op, argument, slice.len(), needed)
}
