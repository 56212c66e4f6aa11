//! The log-probability head on the device; see [`crate::head`].
//!
//! A chunk of rows meets the whole vocabulary: a product gives their logits in `F32`, kernels make of them what the next product
//! takes. The scratch is a chunk × vocabulary, of which [`chunk`] keeps the bytes bounded, and is freed when the op returns.

use super::embedding::{self, Runs, rows};
use super::launch::{Launch, threads};
use super::{Dtype, Gpu, Slice, matmul};
use crate::Error;
use crate::error::length;

/// Bytes of scratch that [`chunk`] allows: enough rows that the output matrix, read once a chunk, costs less than the products.
const BUDGET: usize = 512 << 20;

/// Threads for a row of logits.
const BLOCK: u32 = 512;

/// A good number of rows at a time: logits in `F32` and their successors in at most 4 bytes stay within half a GiB.
pub fn chunk(vocabulary: usize) -> usize {
    let rows = BUDGET / (8 * vocabulary.max(1));
    (rows / 64 * 64).clamp(64, 8192)
}

/// Entries prepared once: entry m scores token `targets[m]` by the hidden state of row `rows[m]`. Entries of one row share a pass,
/// wherever they stand.
#[derive(Clone, Debug)]
pub struct Entries {
    runs: Runs,
    targets: Slice,
    /// One above the largest target.
    limit: usize,
}

impl Entries {
    /// # Errors
    /// Another number of targets than of rows; too little memory.
    pub fn new(gpu: &Gpu, rows: &[u32], targets: &[u32]) -> Result<Entries, Error> {
        length(
            "gpu::head::Entries::new",
            "targets",
            targets.len(),
            rows.len(),
        )?;
        Ok(Entries {
            runs: Runs::new(gpu, rows)?,
            targets: gpu.upload_u32(targets)?,
            limit: targets.iter().max().map_or(0, |&y| y as usize + 1),
        })
    }

    /// M.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// logps (M) and lse (M), in nats, from hidden (N, D) and w (V, D); for a frozen head also `stored` (M, D) = W\[y\] − softmax·W,
/// with which [`backward_frozen`] needs no matrix product. One product a chunk, two with `stored`.
///
/// # Errors
/// A slice of another length or dtype; a row or a target outside its table.
pub fn forward(
    hidden: &Slice,
    w: &Slice,
    d: usize,
    entries: &Entries,
    logps: &Slice,
    lse: &Slice,
    stored: Option<&Slice>,
    chunk: usize,
) -> Result<(), Error> {
    let op = "gpu::head::forward";
    let pass = Pass::new(op, hidden, w, d, entries, chunk)?;
    logps.expect(op, "logps", Dtype::F32, entries.len())?;
    lse.expect(op, "lse", Dtype::F32, entries.len())?;
    if let Some(stored) = stored {
        stored.expect(op, "stored", hidden.dtype(), entries.len() * d)?;
    }
    let p = pass.scratch(stored.map_or(0, |_| pass.v))?;
    let mean = pass.wide_scratch(stored.map_or(0, |_| d))?;
    pass.each(|part| {
        let c = part.rows;
        let p = stored.map(|_| p.narrow(0, c * pass.v)).transpose()?;
        Launch::new(hidden.gpu(), "head_softmax")
            .slice(&part.z)
            .slice(&part.starts)
            .slice(&entries.runs.order)
            .slice(&entries.targets)
            .slice(logps)
            .slice(lse)
            .option(p.as_ref())
            .unsigned(pass.v)?
            .run(hidden.dtype(), [c, 1, 1], BLOCK, 0)?;
        let (Some(p), Some(stored)) = (p, stored) else {
            return Ok(());
        };
        let mean = mean.narrow(0, c * d)?;
        matmul::linear_dx(&p, w, &mean, c, d, pass.v, 1.0, 0.0)?;
        Launch::new(hidden.gpu(), "head_stored")
            .slice(&mean)
            .slice(w)
            .slice(&part.starts)
            .slice(&entries.runs.order)
            .slice(&entries.targets)
            .slice(stored)
            .unsigned(d)?
            .run(hidden.dtype(), [c, 1, 1], threads(d), 0)
    })
}

/// ln Σ_v p_v² (M), in nats, from what [`forward`] read and the lse (M) that it gave.
///
/// # Errors
/// As [`forward`].
pub fn log_collisions(
    hidden: &Slice,
    w: &Slice,
    d: usize,
    entries: &Entries,
    lse: &Slice,
    out: &Slice,
    chunk: usize,
) -> Result<(), Error> {
    let op = "gpu::head::log_collisions";
    let pass = Pass::new(op, hidden, w, d, entries, chunk)?;
    lse.expect(op, "lse", Dtype::F32, entries.len())?;
    out.expect(op, "out", Dtype::F32, entries.len())?;
    pass.each(|part| {
        Launch::new(hidden.gpu(), "head_collisions")
            .slice(&part.z)
            .slice(&part.starts)
            .slice(&entries.runs.order)
            .slice(lse)
            .slice(out)
            .unsigned(pass.v)?
            .run(hidden.dtype(), [part.rows, 1, 1], BLOCK, 0)
    })
}

/// dhidden (N, D) += dlogps·stored from the vectors that [`forward`] stored: the backward of a frozen head.
///
/// # Errors
/// A slice of another length or dtype; a row outside dhidden.
pub fn backward_frozen(
    stored: &Slice,
    dlogps: &Slice,
    entries: &Entries,
    dhidden: &Slice,
    d: usize,
) -> Result<(), Error> {
    let op = "gpu::head::backward_frozen";
    let n = rows(op, "dhidden", dhidden, d)?;
    dhidden.expect(op, "dhidden", stored.dtype(), n * d)?;
    stored.expect(op, "stored", stored.dtype(), entries.len() * d)?;
    dlogps.expect(op, "dlogps", Dtype::F32, entries.len())?;
    within(op, "a row is outside dhidden", entries.runs.limit, n)?;
    let block = threads(d);
    let columns = d.div_ceil(block as usize);
    Launch::new(stored.gpu(), "head_frozen")
        .slice(stored)
        .slice(dlogps)
        .slice(&entries.runs.ids)
        .slice(&entries.runs.starts)
        .slice(&entries.runs.order)
        .slice(dhidden)
        .unsigned(d)?
        .run(
            stored.dtype(),
            [entries.runs.ids.len(), columns, 1],
            block,
            0,
        )
}

/// dhidden (N, D) += and dw (V, D) in `F32` +=, with logits recomputed and the saved lse (M). Three products a chunk.
///
/// # Errors
/// As [`forward`].
pub fn backward_trained(
    hidden: &Slice,
    w: &Slice,
    d: usize,
    lse: &Slice,
    entries: &Entries,
    dlogps: &Slice,
    dhidden: &Slice,
    dw: &Slice,
    chunk: usize,
) -> Result<(), Error> {
    let op = "gpu::head::backward_trained";
    let pass = Pass::new(op, hidden, w, d, entries, chunk)?;
    lse.expect(op, "lse", Dtype::F32, entries.len())?;
    dlogps.expect(op, "dlogps", Dtype::F32, entries.len())?;
    dhidden.expect(op, "dhidden", hidden.dtype(), hidden.len())?;
    dw.expect(op, "dw", Dtype::F32, w.len())?;
    let (dz, dh) = (pass.scratch(pass.v)?, pass.wide_scratch(d)?);
    pass.each(|part| {
        let c = part.rows;
        let (dz, dh) = (dz.narrow(0, c * pass.v)?, dh.narrow(0, c * d)?);
        Launch::new(hidden.gpu(), "head_dlogits")
            .slice(&part.z)
            .slice(&part.starts)
            .slice(&entries.runs.order)
            .slice(&entries.targets)
            .slice(lse)
            .slice(dlogps)
            .slice(&dz)
            .unsigned(pass.v)?
            .run(hidden.dtype(), [c, 1, 1], BLOCK, 0)?;
        matmul::linear_dw(&dz, &part.hidden, dw, c, d, pass.v, 1.0)?;
        matmul::linear_dx(&dz, w, &dh, c, d, pass.v, 1.0, 0.0)?;
        Launch::new(hidden.gpu(), "head_scatter")
            .slice(&dh)
            .slice(&part.ids)
            .slice(dhidden)
            .unsigned(d)?
            .run(hidden.dtype(), [c, 1, 1], threads(d), 0)
    })
}

/// One walk over the chunks of distinct rows.
struct Pass<'a> {
    hidden: &'a Slice,
    w: &'a Slice,
    d: usize,
    v: usize,
    entries: &'a Entries,
    chunk: usize,
}

/// A chunk: its rows' indices, hidden states and logits.
struct Part {
    rows: usize,
    ids: Slice,
    starts: Slice,
    hidden: Slice, // (rows, D)
    z: Slice,      // (rows, V), F32
}

impl<'a> Pass<'a> {
    fn new(
        op: &'static str,
        hidden: &'a Slice,
        w: &'a Slice,
        d: usize,
        entries: &'a Entries,
        chunk: usize,
    ) -> Result<Pass<'a>, Error> {
        if d == 0 || chunk == 0 {
            return Err(Error::shape(op, "d and chunk must be at least 1"));
        }
        let n = rows(op, "hidden", hidden, d)?;
        let v = rows(op, "w", w, d)?;
        w.expect(op, "w", hidden.dtype(), v * d)?;
        within(op, "a row is outside hidden", entries.runs.limit, n)?;
        within(op, "a target is outside the vocabulary", entries.limit, v)?;
        Ok(Pass {
            hidden,
            w,
            d,
            v,
            entries,
            chunk: chunk.min(entries.runs.ids.len()),
        })
    }

    /// (chunk, width) of the model's dtype.
    fn scratch(&self, width: usize) -> Result<Slice, Error> {
        let dtype = self.hidden.dtype();
        self.hidden.gpu().alloc(dtype, self.chunk * width)
    }

    /// (chunk, width) of `F32`.
    fn wide_scratch(&self, width: usize) -> Result<Slice, Error> {
        self.hidden.gpu().alloc(Dtype::F32, self.chunk * width)
    }

    fn each(&self, mut body: impl FnMut(&Part) -> Result<(), Error>) -> Result<(), Error> {
        let runs = &self.entries.runs;
        let (gathered, logits) = (self.scratch(self.d)?, self.wide_scratch(self.v)?);
        let mut first = 0;
        while first < runs.ids.len() {
            let rows = self.chunk.min(runs.ids.len() - first);
            let part = Part {
                rows,
                ids: runs.ids.narrow(first, rows)?,
                starts: runs.starts.narrow(first, rows + 1)?,
                hidden: gathered.narrow(0, rows * self.d)?,
                z: logits.narrow(0, rows * self.v)?,
            };
            embedding::forward(&part.ids, self.hidden, &part.hidden, self.d)?;
            let (d, v) = (self.d, self.v);
            matmul::linear(&part.hidden, self.w, &part.z, rows, d, v, 1.0, 0.0)?;
            body(&part)?;
            first += rows;
        }
        Ok(())
    }
}

fn within(op: &'static str, reason: &'static str, limit: usize, size: usize) -> Result<(), Error> {
    match limit <= size {
        true => Ok(()),
        false => Err(Error::shape(op, reason)),
    }
}
