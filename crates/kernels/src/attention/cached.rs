use super::Shape;
use crate::Error;
use crate::error::length;
use crate::exp::exp;
use crate::simd::{Kernel, dispatch, dot, mul_add};
use rayon::prelude::*;

/// The keys and values of one sequence so far, the newest token's included: two slices (len, K, E).
#[derive(Clone, Copy, Debug)]
pub struct Cache<'a> {
    /// Keys, rotated.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
}

/// Attention of the newest token of each sequence: q (R, H, E) over R caches → o (R, H, E), for generation.
///
/// A window sees the last `window` tokens of a cache.
///
/// # Errors
/// A slice of another length, an empty cache.
pub fn cached(
    q: &[f32],
    caches: &[Cache],
    o: &mut [f32],
    window: Option<usize>,
    shape: &Shape,
) -> Result<(), Error> {
    let op = "attention::cached";
    shape.check(op)?;
    length(op, "q", q.len(), caches.len() * shape.q_width())?;
    length(op, "o", o.len(), caches.len() * shape.q_width())?;
    for cache in caches {
        let rows = cache.k.len() / shape.kv_width();
        if rows == 0 {
            return Err(Error::shape(op, "a cache is empty"));
        }
        length(op, "k", cache.k.len(), rows * shape.kv_width())?;
        length(op, "v", cache.v.len(), cache.k.len())?;
    }
    let (e, group) = (shape.head_dim, shape.group());
    o.par_chunks_mut(e).enumerate().for_each(|(i, o)| {
        let cache = caches[i / shape.heads];
        let rows = cache.k.len() / shape.kv_width();
        let first = window.map_or(0, |w| rows.saturating_sub(w));
        dispatch(Head {
            q: &q[i * e..(i + 1) * e],
            cache,
            rows: first..rows,
            stride: shape.kv_width(),
            offset: i % shape.heads / group * e,
            scale: shape.scale,
            o,
        });
    });
    Ok(())
}

/// One query head of one sequence.
struct Head<'a> {
    q: &'a [f32],
    cache: Cache<'a>,
    rows: std::ops::Range<usize>,
    stride: usize,
    offset: usize,
    scale: f32,
    o: &'a mut [f32],
}

impl Kernel for Head<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let e = self.q.len();
        let at = |row: usize| row * self.stride + self.offset;
        let mut p: Vec<f32> = self
            .rows
            .clone()
            .map(|row| dot::<FMA>(self.q, &self.cache.k[at(row)..][..e]) * self.scale)
            .collect();
        let max = p.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x));
        for p in &mut p {
            *p = exp::<FMA>(*p - max);
        }
        let sum: f32 = p.iter().sum();
        self.o.fill(0.0);
        for (row, p) in self.rows.zip(&p) {
            let p = p / sum;
            for (o, v) in self.o.iter_mut().zip(&self.cache.v[at(row)..][..e]) {
                *o = mul_add::<FMA>(p, *v, *o);
            }
        }
    }
}
