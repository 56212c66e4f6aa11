use super::plan::{Plan, Unit};
use super::tile::{KEYS, Mask, Queries, gather, head_of, keys, stride};
use super::{Layout, Shape, at_least};
use crate::Error;
use crate::exp::exp;
use crate::matmul::{Mat, MatMut, matmul_here};
use crate::parallel::{Shared, for_each_unit};
use crate::simd::{Kernel, LANES, dispatch, dot};

/// dq (N, H, E), dk and dv (N, K, E), written for the layout's rows, from what [`super::forward`] read and gave and the
/// gradient of its output.
///
/// The layout holds the gradient segments only: they stand first in a pack and read none but each other. Slices may be
/// longer than its rows; the rest is neither read nor written.
///
/// A unit of work is (query tiles of one tree, key/value head); it owns its sums of dk and dv. A tree is cut into several
/// units only where there are too few for the pool; their sums are then added in order.
///
/// # Errors
/// A slice shorter than the layout's rows; a layout or shape that contradicts itself.
pub fn backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    o: &[f32],
    lse: &[f32],
    d_o: &[f32],
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
    layout: &Layout,
    shape: &Shape,
) -> Result<(), Error> {
    let op = "attention::backward";
    shape.check(op)?;
    layout.check(op)?;
    let n = layout.rows();
    for (name, len, width) in [
        ("q", q.len(), shape.q_width()),
        ("k", k.len(), shape.kv_width()),
        ("v", v.len(), shape.kv_width()),
        ("o", o.len(), shape.q_width()),
        ("lse", lse.len(), shape.heads),
        ("d_o", d_o.len(), shape.q_width()),
        ("dq", dq.len(), shape.q_width()),
        ("dk", dk.len(), shape.kv_width()),
        ("dv", dv.len(), shape.kv_width()),
    ] {
        at_least(op, name, len, n * width)?;
    }
    let input = Input {
        q,
        k,
        v,
        o,
        lse,
        d_o,
        layout,
        shape,
    };
    let plan = Plan::new(layout, shape);
    let e = shape.head_dim;
    // (unit, rows of its tree, dk and dv, E): every unit's own sums.
    let mut sums = vec![0.0; plan.units.last().map_or(0, |u| u.sums.end)];
    {
        let (dq, sums) = (Shared::new(dq), Shared::new(&mut sums));
        let longest = plan.tokens * shape.group();
        for_each_unit(
            &plan.order,
            || Scratch::new(longest, e),
            |scratch, &unit| {
                let unit = &plan.units[unit];
                // SAFETY: every unit has its own range.
                let sums = unsafe { sums.slice(unit.sums.clone()) };
                let (dk, dv) = sums.split_at_mut(sums.len() / 2);
                for tile in &unit.tiles {
                    scratch.tile(&input, tile, unit, &plan.local, dk, dv)?;
                    let width = shape.group() * e;
                    for (row, part) in tile.rows.clone().zip(scratch.dq.chunks_exact(width)) {
                        let at = row * shape.q_width() + unit.head * width;
                        // SAFETY: a query tile and a key/value head stand in one unit only.
                        unsafe { dq.slice(at..at + width) }.copy_from_slice(part);
                    }
                }
                Ok(())
            },
        )?;
    }
    plan.collect(&sums, dk, dv, layout, shape);
    Ok(())
}

struct Input<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    o: &'a [f32],
    lse: &'a [f32],
    d_o: &'a [f32],
    layout: &'a Layout,
    shape: &'a Shape,
}

/// Buffers of one worker, for one query tile.
struct Scratch {
    q: Vec<f32>,      // (rows, E)
    o: Vec<f32>,      // (rows, E)
    d_o: Vec<f32>,    // (rows, E)
    dq: Vec<f32>,     // (rows, E)
    delta: Vec<f32>,  // (rows): dO · O
    lse: Vec<f32>,    // (rows)
    scores: Vec<f32>, // (rows, KEYS): scores, then probabilities
    dp: Vec<f32>,     // (rows, KEYS): dO·Vᵀ, then dS
}

impl Scratch {
    fn new(rows: usize, e: usize) -> Scratch {
        Scratch {
            q: vec![0.0; rows * e],
            o: vec![0.0; rows * e],
            d_o: vec![0.0; rows * e],
            dq: vec![0.0; rows * e],
            delta: vec![0.0; rows],
            lse: vec![0.0; rows],
            scores: vec![0.0; rows * KEYS],
            dp: vec![0.0; rows * KEYS],
        }
    }

    /// Adds a query tile's part to dk and dv (rows of the tree, E) and leaves its dq in the scratch.
    fn tile(
        &mut self,
        input: &Input,
        tile: &Queries,
        unit: &Unit,
        local: &[usize],
        dk: &mut [f32],
        dv: &mut [f32],
    ) -> Result<(), Error> {
        let Input { layout, shape, .. } = input;
        let (group, e) = (shape.group(), shape.head_dim);
        let rows = tile.rows.len() * group;
        let scale = shape.scale;
        let (q, o) = (&mut self.q[..rows * e], &mut self.o[..rows * e]);
        let (d_o, dq) = (&mut self.d_o[..rows * e], &mut self.dq[..rows * e]);
        let (delta, lse) = (&mut self.delta[..rows], &mut self.lse[..rows]);
        gather(input.q, tile.rows.clone(), unit.head, shape, q);
        gather(input.o, tile.rows.clone(), unit.head, shape, o);
        gather(input.d_o, tile.rows.clone(), unit.head, shape, d_o);
        dq.fill(0.0);
        for (lse, row) in lse.chunks_exact_mut(group).zip(tile.rows.clone()) {
            lse.copy_from_slice(&input.lse[row * shape.heads + unit.head * group..][..group]);
        }
        dispatch(Delta { o, d_o, delta, e });

        for part in keys(layout, tile) {
            let n = part.rows.len();
            let stride = stride(n);
            let scores = &mut self.scores[..rows * stride];
            let dp = &mut self.dp[..rows * stride];
            let key = head_of(input.k, &part.rows, unit.head, shape)?;
            let value = head_of(input.v, &part.rows, unit.head, shape)?;
            let (q, d_o) = (Mat::new(q, rows, e)?, Mat::new(d_o, rows, e)?);
            // Rows of the tile in the tree's own numbering.
            let first =
                local[part.segment] + part.rows.start - layout.segments[part.segment].rows.start;
            let own = first * e..(first + n) * e;

            matmul_here(
                MatMut::strided(scores, rows, n, stride, 1)?,
                0.0,
                scale,
                q,
                key.t(),
            )?;
            matmul_here(
                MatMut::strided(dp, rows, n, stride, 1)?,
                0.0,
                1.0,
                d_o,
                value.t(),
            )?;
            dispatch(Gradient {
                mask: Mask::new(layout, tile, &part, shape),
                scores,
                dp,
                stride,
                lse,
                delta,
            });
            let (p, ds) = (
                Mat::strided(scores, rows, n, stride, 1)?,
                Mat::strided(dp, rows, n, stride, 1)?,
            );
            let dv = MatMut::new(&mut dv[own.clone()], n, e)?;
            let dk = MatMut::new(&mut dk[own], n, e)?;
            matmul_here(dv, 1.0, 1.0, p.t(), d_o)?;
            matmul_here(dk, 1.0, scale, ds.t(), q)?;
            matmul_here(MatMut::new(dq, rows, e)?, 1.0, scale, ds, key)?;
        }
        Ok(())
    }
}

/// delta = rowsum(dO ∘ O).
struct Delta<'a> {
    o: &'a [f32],
    d_o: &'a [f32],
    delta: &'a mut [f32],
    e: usize,
}

impl Kernel for Delta<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let rows = self
            .o
            .chunks_exact(self.e)
            .zip(self.d_o.chunks_exact(self.e));
        for (delta, (o, d_o)) in self.delta.iter_mut().zip(rows) {
            *delta = dot::<FMA>(o, d_o);
        }
    }
}

/// Scores become probabilities, dP becomes dS = P ∘ (dP − delta); both 0 where masked.
struct Gradient<'a> {
    mask: Mask,
    scores: &'a mut [f32], // (rows, stride)
    dp: &'a mut [f32],     // (rows, stride)
    stride: usize,
    lse: &'a [f32],
    delta: &'a [f32],
}

impl Kernel for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let rows = self
            .scores
            .chunks_exact_mut(self.stride)
            .zip(self.dp.chunks_exact_mut(self.stride));
        for (row, (scores, dp)) in rows.enumerate() {
            self.mask.hide(row, scores);
            let (lse, delta) = (self.lse[row], self.delta[row]);
            let (scores, _) = scores.as_chunks_mut::<LANES>();
            let (dp, _) = dp.as_chunks_mut::<LANES>();
            for (s, dp) in scores.iter_mut().zip(dp) {
                for l in 0..LANES {
                    s[l] = exp::<FMA>(s[l] - lse);
                    dp[l] = s[l] * (dp[l] - delta);
                }
            }
        }
    }
}
