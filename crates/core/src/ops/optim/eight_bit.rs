//! AdamW's moments of one byte each: codes, and a scale for every 256 of them; see `halo_kernels::optim::eight_bit`.

use std::borrow::Cow;

use halo_kernels::gpu::{self, Slice};
use halo_kernels::optim::{AdamW, eight_bit};

use super::Update;
use crate::array::Array;
use crate::device::{Device, Dtype};
use crate::{Error, Result};

/// Both moments of n parameters. In pairs, as everywhere here: the first moment's, then the second's.
pub(crate) enum EightBit {
    Cpu {
        codes: [Vec<u8>; 2],
        scales: [Vec<f32>; 2],
    },
    Gpu(gpu::optim::EightBit),
}

/// The codes of one moment, where they lie.
pub(crate) enum Codes<'a> {
    Cpu(&'a [u8]),
    Gpu(&'a Slice),
}

impl EightBit {
    /// Zero moments; on a GPU all read their codes in the tables of `first`.
    ///
    /// # Errors
    /// Too little memory on the device.
    pub(crate) fn zeros(device: &Device, n: usize, first: Option<&EightBit>) -> Result<EightBit> {
        match (device, first) {
            (Device::Cpu, _) => {
                let scales = vec![0.0; eight_bit::blocks(n)];
                Ok(EightBit::Cpu {
                    codes: eight_bit::zeros(n).into(),
                    scales: [scales.clone(), scales],
                })
            }
            (Device::Gpu(_), Some(EightBit::Gpu(first))) => Ok(EightBit::Gpu(first.beside(n)?)),
            (Device::Gpu(gpu), _) => Ok(EightBit::Gpu(gpu::optim::EightBit::new(gpu, n)?)),
        }
    }

    pub(super) fn step(
        &mut self,
        on: &Update,
        t: u64,
        adamw: &AdamW,
        decay: bool,
        grad_scale: f32,
    ) -> Result<()> {
        match self {
            EightBit::Cpu {
                codes: [m, v],
                scales: [m_max, v_max],
            } => {
                let grads = on.grads.values()?;
                on.params.edit(|params| {
                    Ok(eight_bit::step(
                        params, &grads, m, v, m_max, v_max, t, adamw, decay, grad_scale,
                    )?)
                })
            }
            EightBit::Gpu(moments) => {
                let rounded = on.rounded.as_ref().map(Array::slice).transpose()?;
                Ok(gpu::optim::step_eight_bit(
                    on.params.slice()?,
                    on.grads.slice()?,
                    moments,
                    rounded,
                    t,
                    adamw,
                    decay,
                    grad_scale,
                )?)
            }
        }
    }

    pub(crate) fn codes(&self) -> [Codes<'_>; 2] {
        match self {
            EightBit::Cpu { codes, .. } => codes.each_ref().map(|codes| Codes::Cpu(codes)),
            EightBit::Gpu(moments) => moments.codes().map(Codes::Gpu),
        }
    }

    /// On the CPU copies: they are few.
    pub(crate) fn scales(&self) -> Result<[Array; 2]> {
        match self {
            EightBit::Cpu { scales, .. } => {
                let [m, v] = scales;
                let array = |scales: &Vec<f32>| {
                    Array::from_vec(&Device::Cpu, Dtype::F32, scales.clone(), [scales.len()])
                };
                Ok([array(m)?, array(v)?])
            }
            EightBit::Gpu(moments) => Ok(moments
                .scales()
                .map(|scales| Array::Gpu(scales.clone(), vec![scales.len()]))),
        }
    }

    /// Overwrites the moments with those of a checkpoint.
    ///
    /// # Errors
    /// Other lengths: a fault of the engine.
    pub(crate) fn write(&mut self, codes: [Vec<u8>; 2], scales: [Vec<f32>; 2]) -> Result<()> {
        match self {
            EightBit::Cpu {
                codes: ours,
                scales: our_scales,
            } => {
                if ours.each_ref().map(Vec::len) != codes.each_ref().map(Vec::len)
                    || our_scales.each_ref().map(Vec::len) != scales.each_ref().map(Vec::len)
                {
                    return Err(Error::internal("moments of another number of parameters"));
                }
                (*ours, *our_scales) = (codes, scales);
                Ok(())
            }
            EightBit::Gpu(moments) => {
                let ([m, v], [m_max, v_max]) = (codes, scales);
                Ok(moments.write(&m, &v, &m_max, &v_max)?)
            }
        }
    }
}

impl Codes<'_> {
    /// On the host: in place on the CPU, a download elsewhere.
    pub(crate) fn host(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Codes::Cpu(codes) => Ok(Cow::Borrowed(codes)),
            Codes::Gpu(slice) => Ok(Cow::Owned(slice.download_codes()?)),
        }
    }
}
