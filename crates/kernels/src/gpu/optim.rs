//! The optimiser on the device; see [`crate::optim`].

use super::launch::Launch;
use super::{Dtype, Gpu, Slice};
use crate::Error;
use crate::error::length;
use crate::optim::{AdamW, Update, eight_bit};

/// Elements of a partial sum of squares, and of a block of a step: as in `optim.cu`.
const SQUARES: usize = 16_384;
const SPAN: usize = 2048;

/// Blocks of 256 numbers that one block of threads takes, so that the maps are fetched seldom.
const SPANS: usize = 16;

/// Σ x², in f64; waits.
///
/// # Errors
/// Those of the driver.
pub fn sum_squares(x: &Slice) -> Result<f64, Error> {
    let total = sum_squares_later(x)?.get()?;
    let bytes = total.first_chunk().copied().unwrap_or_default();
    Ok(f64::from_le_bytes(bytes))
}

/// Σ x² as one `F64` on the device, without waiting.
///
/// # Errors
/// Those of the driver.
pub fn sum_squares_later(x: &Slice) -> Result<Slice, Error> {
    let gpu = x.gpu();
    let count = x.len().div_ceil(SQUARES);
    let parts = gpu.alloc(Dtype::F64, count)?;
    let total = gpu.alloc(Dtype::F64, 1)?;
    Launch::new(gpu, "optim_squares")
        .slice(x)
        .slice(&parts)
        .size(x.len())
        .run(x.dtype(), [count, 1, 1], 256, 0)?;
    Launch::new(gpu, "optim_total")
        .slice(&parts)
        .slice(&total)
        .unsigned(count)?
        .run(x.dtype(), [1, 1, 1], 256, 0)?;
    Ok(total)
}

/// One AdamW update in place, as [`crate::optim::step`], in one pass; `copy` gets the new parameters as the model computes with
/// them, rounded to nearest even.
///
/// # Errors
/// A slice of another length or dtype; t = 0.
pub fn step(
    params: &Slice,
    grads: &Slice,
    m: &Slice,
    v: &Slice,
    copy: Option<&Slice>,
    t: u64,
    cfg: &AdamW,
    decay: bool,
    grad_scale: f32,
) -> Result<(), Error> {
    let (op, n) = ("gpu::optim::step", params.len());
    params.expect(op, "params", Dtype::F32, n)?;
    grads.expect(op, "grads", Dtype::F32, n)?;
    m.expect(op, "m", Dtype::F32, n)?;
    v.expect(op, "v", Dtype::F32, n)?;
    let dtype = copied(op, copy, n)?;
    let update = Update::new(op, t, cfg, decay, grad_scale)?;
    let launch = Launch::new(params.gpu(), "optim_step")
        .slice(params)
        .slice(grads)
        .slice(m)
        .slice(v)
        .option(copy);
    factors(launch, &update)
        .size(n)
        .run(dtype, [n.div_ceil(SPAN), 1, 1], 256, 0)
}

/// Moments of one byte each; see [`crate::optim::eight_bit`].
#[derive(Clone, Debug)]
pub struct EightBit {
    m: Slice,
    v: Slice,
    m_max: Slice,
    v_max: Slice,
    signed: Slice,
    unsigned: Slice,
}

/// Codes of the first and the second moment, then their blocks' largest magnitudes.
pub type Parts = (Vec<u8>, Vec<u8>, Vec<f32>, Vec<f32>);

impl EightBit {
    /// Zero moments of `n` parameters.
    ///
    /// # Errors
    /// Too little memory.
    pub fn new(gpu: &Gpu, n: usize) -> Result<EightBit, Error> {
        let (m, v) = eight_bit::zeros(n);
        let scales = vec![0.0; eight_bit::blocks(n)];
        EightBit::from_parts(gpu, &m, &v, &scales, &scales)
    }

    /// Zero moments of `n` other parameters, which read their codes in the same tables.
    ///
    /// # Errors
    /// Too little memory.
    pub fn beside(&self, n: usize) -> Result<EightBit, Error> {
        let gpu = self.m.gpu();
        let (m, v) = eight_bit::zeros(n);
        let scales = || gpu.zeros(Dtype::F32, eight_bit::blocks(n));
        Ok(EightBit {
            m: codes(gpu, &m)?,
            v: codes(gpu, &v)?,
            m_max: scales()?,
            v_max: scales()?,
            ..self.clone()
        })
    }

    /// Moments as [`EightBit::parts`] gave them.
    ///
    /// # Errors
    /// Lengths that do not fit; too little memory.
    pub fn from_parts(
        gpu: &Gpu,
        m: &[u8],
        v: &[u8],
        m_max: &[f32],
        v_max: &[f32],
    ) -> Result<EightBit, Error> {
        let op = "gpu::optim::EightBit::from_parts";
        length(op, "v", v.len(), m.len())?;
        length(op, "m_max", m_max.len(), eight_bit::blocks(m.len()))?;
        length(op, "v_max", v_max.len(), eight_bit::blocks(m.len()))?;
        Ok(EightBit {
            m: codes(gpu, m)?,
            v: codes(gpu, v)?,
            m_max: gpu.upload(m_max)?,
            v_max: gpu.upload(v_max)?,
            signed: gpu.upload(&eight_bit::map(true))?,
            unsigned: gpu.upload(&eight_bit::map(false))?,
        })
    }

    /// The memory of the codes of m and v, `U8`.
    pub fn codes(&self) -> [&Slice; 2] {
        [&self.m, &self.v]
    }

    /// The memory of the scales of m and v, `F32`.
    pub fn scales(&self) -> [&Slice; 2] {
        [&self.m_max, &self.v_max]
    }

    /// Overwrites the moments with those of a checkpoint.
    ///
    /// # Errors
    /// Lengths that do not fit.
    pub fn write(&self, m: &[u8], v: &[u8], m_max: &[f32], v_max: &[f32]) -> Result<(), Error> {
        let op = "gpu::optim::EightBit::write";
        length(op, "m", m.len(), self.m.len())?;
        length(op, "v", v.len(), self.v.len())?;
        length(op, "m_max", m_max.len(), self.m_max.len())?;
        length(op, "v_max", v_max.len(), self.v_max.len())?;
        self.m.put(m)?;
        self.v.put(v)?;
        self.m_max.write(m_max)?;
        self.v_max.write(v_max)
    }

    /// Codes and scales (m, v, m_max, v_max) for a checkpoint; waits.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn parts(&self) -> Result<Parts, Error> {
        Ok((
            self.m.get()?,
            self.v.get()?,
            self.m_max.download()?,
            self.v_max.download()?,
        ))
    }
}

/// [`step`] with moments of one byte each.
///
/// # Errors
/// As [`step`].
pub fn step_eight_bit(
    params: &Slice,
    grads: &Slice,
    moments: &EightBit,
    copy: Option<&Slice>,
    t: u64,
    cfg: &AdamW,
    decay: bool,
    grad_scale: f32,
) -> Result<(), Error> {
    let (op, n) = ("gpu::optim::step_eight_bit", params.len());
    params.expect(op, "params", Dtype::F32, n)?;
    grads.expect(op, "grads", Dtype::F32, n)?;
    moments.m.expect(op, "moments", Dtype::U8, n)?;
    let dtype = copied(op, copy, n)?;
    let update = Update::new(op, t, cfg, decay, grad_scale)?;
    let launch = Launch::new(params.gpu(), "optim_step_eight_bit")
        .slice(params)
        .slice(grads)
        .slice(&moments.m)
        .slice(&moments.v)
        .slice(&moments.m_max)
        .slice(&moments.v_max)
        .slice(&moments.signed)
        .slice(&moments.unsigned)
        .option(copy);
    let blocks = eight_bit::blocks(n).div_ceil(SPANS);
    factors(launch, &update)
        // The dither's mixer knows steps modulo 2^32.
        .unsigned(t as u32 as usize)?
        .unsigned(SPANS)?
        .size(n)
        .run(dtype, [blocks, 1, 1], eight_bit::BLOCK as u32, 0)
}

fn codes(gpu: &Gpu, codes: &[u8]) -> Result<Slice, Error> {
    let slice = gpu.alloc(Dtype::U8, codes.len())?;
    slice.put(codes).map(|()| slice)
}

/// The form of the kernel that writes `copy`.
fn copied(op: &'static str, copy: Option<&Slice>, n: usize) -> Result<Dtype, Error> {
    let Some(copy) = copy else {
        return Ok(Dtype::F32);
    };
    if copy.dtype() != Dtype::F32 {
        copy.expect(op, "copy", Dtype::Bf16, n)?;
    }
    copy.expect(op, "copy", copy.dtype(), n)?;
    Ok(copy.dtype())
}

fn factors<'a>(launch: Launch<'a>, update: &Update) -> Launch<'a> {
    launch
        .float(update.keep)
        .float(update.beta1)
        .float(update.rest1)
        .float(update.beta2)
        .float(update.rest2)
        .float(update.step)
        .float(update.root)
        .float(update.eps)
        .float(update.grad_scale)
}
