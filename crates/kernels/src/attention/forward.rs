use super::tile::{KEYS, Mask, Queries, cost, gather, head_of, keys, queries, stride, tokens};
use super::{Layout, Shape, at_least};
use crate::Error;
use crate::exp::exp;
use crate::matmul::{Mat, MatMut, matmul_here};
use crate::parallel::{Shared, for_each_unit};
use crate::simd::{Kernel, dispatch, max, softmax_sum};
use std::cmp::Reverse;

/// o (N, H, E) and lse (N, H), the log-sum-exp of the scaled scores, from q (N, H, E), k and v (N, K, E).
///
/// Online softmax over key tiles; two matrix products per tile; tiles wholly masked are skipped. Slices may be longer than
/// the layout's rows; the rest is neither read nor written.
///
/// # Errors
/// A slice shorter than the layout's rows; a layout or shape that contradicts itself.
pub fn forward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    o: &mut [f32],
    lse: &mut [f32],
    layout: &Layout,
    shape: &Shape,
) -> Result<(), Error> {
    let op = "attention::forward";
    shape.check(op)?;
    layout.check(op)?;
    let n = layout.rows();
    at_least(op, "q", q.len(), n * shape.q_width())?;
    at_least(op, "k", k.len(), n * shape.kv_width())?;
    at_least(op, "v", v.len(), n * shape.kv_width())?;
    at_least(op, "o", o.len(), n * shape.q_width())?;
    at_least(op, "lse", lse.len(), n * shape.heads)?;

    let tokens = tokens(shape);
    let mut units: Vec<(Queries, usize)> = (0..layout.segments.len())
        .flat_map(|s| queries(layout, s, tokens))
        .flat_map(|tile| (0..shape.kv_heads).map(move |head| (tile.clone(), head)))
        .collect();
    units.sort_by_cached_key(|(tile, _)| Reverse(cost(layout, tile)));

    let (group, e) = (shape.group(), shape.head_dim);
    let (o, lse) = (Shared::new(o), Shared::new(lse));
    for_each_unit(
        &units,
        || Scratch::new(tokens * group, e),
        |scratch, (tile, head)| {
            scratch.attend(q, k, v, tile, *head, layout, shape)?;
            for (i, row) in tile.rows.clone().enumerate() {
                // SAFETY: units are distinct (rows, key/value head) pairs, so no other one has these heads of this row.
                let (o, lse) = unsafe {
                    let at = row * shape.heads + head * group;
                    (o.slice(at * e..(at + group) * e), lse.slice(at..at + group))
                };
                let part = i * group..(i + 1) * group;
                o.copy_from_slice(&scratch.acc[part.start * e..part.end * e]);
                lse.copy_from_slice(&scratch.max[part]);
            }
            Ok(())
        },
    )
}

/// Buffers of one worker.
struct Scratch {
    q: Vec<f32>,      // (rows, E), scaled
    scores: Vec<f32>, // (rows, KEYS)
    acc: Vec<f32>,    // (rows, E): Σ exp(s − max)·v, at last o
    max: Vec<f32>,    // (rows): running maximum, at last lse
    sum: Vec<f32>,    // (rows): Σ exp(s − max)
}

impl Scratch {
    fn new(rows: usize, e: usize) -> Scratch {
        Scratch {
            q: vec![0.0; rows * e],
            scores: vec![0.0; rows * KEYS],
            acc: vec![0.0; rows * e],
            max: vec![0.0; rows],
            sum: vec![0.0; rows],
        }
    }

    /// Leaves o in `acc` and lse in `max`.
    fn attend(
        &mut self,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        tile: &Queries,
        head: usize,
        layout: &Layout,
        shape: &Shape,
    ) -> Result<(), Error> {
        let (rows, e) = (tile.rows.len() * shape.group(), shape.head_dim);
        gather(q, tile.rows.clone(), head, shape, &mut self.q[..rows * e]);
        let q = &self.q[..rows * e];
        let acc = &mut self.acc[..rows * e];
        let (max, sum) = (&mut self.max[..rows], &mut self.sum[..rows]);
        acc.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        for part in keys(layout, tile) {
            let n = part.rows.len();
            let stride = stride(n);
            let scores = &mut self.scores[..rows * stride];
            let key = head_of(k, &part.rows, head, shape)?;
            let value = head_of(v, &part.rows, head, shape)?;
            matmul_here(
                MatMut::strided(scores, rows, n, stride, 1)?,
                0.0,
                shape.scale,
                Mat::new(q, rows, e)?,
                key.t(),
            )?;
            dispatch(Softmax {
                mask: Mask::new(layout, tile, &part, shape),
                scores,
                stride,
                acc,
                max,
                sum,
                e,
            });
            matmul_here(
                MatMut::new(acc, rows, e)?,
                1.0,
                1.0,
                Mat::strided(scores, rows, n, stride, 1)?,
                value,
            )?;
        }
        for ((acc, max), sum) in acc.chunks_exact_mut(e).zip(max).zip(sum) {
            let inverse = 1.0 / *sum;
            acc.iter_mut().for_each(|x| *x *= inverse);
            *max += sum.ln();
        }
        Ok(())
    }
}

/// One key tile of the online softmax: scores become exp(score − max), and what was accumulated is brought to the new max.
struct Softmax<'a> {
    mask: Mask,
    scores: &'a mut [f32], // (rows, stride)
    stride: usize,
    acc: &'a mut [f32], // (rows, E)
    max: &'a mut [f32],
    sum: &'a mut [f32],
    e: usize,
}

impl Kernel for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (row, scores) in self.scores.chunks_exact_mut(self.stride).enumerate() {
            if !self.mask.hide(row, scores) {
                scores.fill(0.0);
                continue;
            }
            let old = self.max[row];
            let new = old.max(max(scores));
            let tile = softmax_sum::<FMA>(scores, new);
            if new > old {
                let factor = exp::<FMA>(old - new);
                self.max[row] = new;
                self.sum[row] *= factor;
                for x in &mut self.acc[row * self.e..(row + 1) * self.e] {
                    *x *= factor;
                }
            }
            self.sum[row] += tile;
        }
    }
}
