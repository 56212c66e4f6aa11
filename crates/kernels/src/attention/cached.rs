use super::Shape;
use crate::Error;
use crate::error::length;
use crate::simd::{Kernel, dispatch, dot, max, mul_add, softmax_sum};
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
    let width = shape.group() * shape.head_dim;
    o.par_chunks_mut(width)
        .zip(q.par_chunks(width))
        .enumerate()
        .for_each(|(i, (o, q))| {
            let cache = caches[i / shape.kv_heads];
            let rows = cache.k.len() / shape.kv_width();
            let first = window.map_or(0, |w| rows.saturating_sub(w));
            let offset = i % shape.kv_heads * shape.head_dim;
            dispatch(Group {
                q,
                k: &cache.k[first * shape.kv_width() + offset..],
                v: &cache.v[first * shape.kv_width() + offset..],
                rows: rows - first,
                shape: *shape,
                o,
            });
        });
    Ok(())
}

/// The query heads of one sequence that read one key/value head.
struct Group<'a> {
    q: &'a [f32], // (G, E)
    k: &'a [f32], // from the first visible row and this head on
    v: &'a [f32],
    rows: usize,
    shape: Shape,
    o: &'a mut [f32], // (G, E)
}

impl Kernel for Group<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (e, stride) = (self.shape.head_dim, self.shape.kv_width());
        let mut scores = vec![0.0; self.shape.group() * self.rows]; // (G, rows)
        // Every key and every value is read once for the whole group.
        for row in 0..self.rows {
            let key = &self.k[row * stride..][..e];
            for (g, q) in self.q.chunks_exact(e).enumerate() {
                scores[g * self.rows + row] = dot::<FMA>(q, key) * self.shape.scale;
            }
        }
        for scores in scores.chunks_exact_mut(self.rows) {
            let inverse = 1.0 / softmax_sum::<FMA>(scores, max(scores));
            for p in scores {
                *p *= inverse;
            }
        }
        self.o.fill(0.0);
        for row in 0..self.rows {
            let value = &self.v[row * stride..][..e];
            for (g, o) in self.o.chunks_exact_mut(e).enumerate() {
                let p = scores[g * self.rows + row];
                for (o, v) in o.iter_mut().zip(value) {
                    *o = mul_add::<FMA>(p, *v, *o);
                }
            }
        }
    }
}
