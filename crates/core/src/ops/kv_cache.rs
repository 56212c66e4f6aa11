//! Keys and values of what was read, of one block: what decoding reads instead of computing again.

mod on_gpu;

use std::ops::Range;

use halo_kernels::attention::{self, Shape};

use super::Indices;
use crate::Result;
use crate::array::Array;
use on_gpu::OnGpu;

/// Keys after rope and values of R sequences.
pub(crate) enum KvCache {
    /// By sequence, (length, K·E) each.
    Cpu(Vec<(Vec<f32>, Vec<f32>)>),
    Gpu(OnGpu),
}

impl KvCache {
    /// Of sequences that stand as these rows in k and v (N, K·E).
    pub(crate) fn of_rows(k: &Array, v: &Array, rows: &[Range<usize>]) -> Result<KvCache> {
        let width = k.dim(1)?;
        match k {
            Array::Cpu(_) => {
                let (k, v) = (k.values()?, v.values()?);
                let cut = |values: &[f32], rows: &Range<usize>| {
                    values[rows.start * width..rows.end * width].to_vec()
                };
                let sequences = rows.iter().map(|rows| (cut(&k, rows), cut(&v, rows)));
                Ok(KvCache::Cpu(sequences.collect()))
            }
            Array::Gpu(k, _) => Ok(KvCache::Gpu(OnGpu::of_rows(k, v.slice()?, rows, width)?)),
        }
    }

    /// Forgets all sequences but these, in the given order.
    pub(crate) fn keep(&mut self, sequences: &[usize]) {
        match self {
            KvCache::Cpu(cached) => {
                let kept = sequences.iter().map(|&s| std::mem::take(&mut cached[s]));
                *cached = kept.collect();
            }
            KvCache::Gpu(caches) => caches.keep(sequences),
        }
    }

    /// Appends each sequence's new key and value (R, K·E), then lets its query (R, H·E) see all → (R, H·E). `lengths` (R): its
    /// tokens before this one.
    pub(crate) fn attend(
        &mut self,
        [q, k, v]: [&Array; 3],
        lengths: &Indices,
        window: Option<usize>,
        shape: &Shape,
    ) -> Result<Array> {
        let o = q.like()?;
        match self {
            KvCache::Cpu(cached) => {
                let width = shape.kv_width();
                let (k, v) = (k.values()?, v.values()?);
                for (sequence, (keys, values)) in cached.iter_mut().enumerate() {
                    keys.extend_from_slice(&k[sequence * width..][..width]);
                    values.extend_from_slice(&v[sequence * width..][..width]);
                }
                let caches: Vec<_> = cached
                    .iter()
                    .map(|(k, v)| attention::Cache { k, v })
                    .collect();
                o.edit(|o| Ok(attention::cached(&q.values()?, &caches, o, window, shape)?))?;
            }
            KvCache::Gpu(caches) => {
                let [q, k, v, o] = [q.slice()?, k.slice()?, v.slice()?, o.slice()?];
                caches.attend([q, k, v, o], lengths, window, shape)?;
            }
        }
        Ok(o)
    }
}
