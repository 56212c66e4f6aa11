//! Packs and inputs for attention, and what the naive form makes of them.

use super::support::*;
use halo_kernels::attention::{Layout, Shape, naive};
use halo_kernels::gpu::checks;

/// The checks' own, chosen by the tests' generator.
pub(crate) fn forest(
    rng: &mut Rng,
    trees: usize,
    segments: usize,
    longest: usize,
    window: Option<usize>,
) -> Layout {
    checks::forest(&mut |n| rng.below(n), trees, segments, longest, window)
}

pub(crate) fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> Shape {
    Shape {
        heads,
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
    }
}

/// q, k, v, dO with `extra` rows after the layout's.
pub(crate) struct Inputs {
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    pub(crate) d_o: Vec<f32>,
}

pub(crate) fn inputs(rng: &mut Rng, n: usize, shape: &Shape, size: f64) -> Inputs {
    Inputs {
        q: rng.vec(n * shape.q_width(), size),
        k: rng.vec(n * shape.kv_width(), size),
        v: rng.vec(n * shape.kv_width(), 1.0),
        d_o: rng.vec(n * shape.q_width(), 1.0),
    }
}

/// o, lse, dq, dk, dv of the naive form.
pub(crate) fn oracle(i: &Inputs, layout: &Layout, shape: &Shape) -> [Vec<f64>; 5] {
    let (q, k, v) = (wide(&i.q), wide(&i.k), wide(&i.v));
    let (mut o, mut lse) = (vec![0.0; q.len()], vec![0.0; q.len() / shape.head_dim]);
    naive::forward(&q, &k, &v, &mut o, &mut lse, layout, shape);
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; k.len()]);
    naive::backward(
        &q,
        &k,
        &v,
        &o,
        &lse,
        &wide(&i.d_o),
        &mut dq,
        &mut dk,
        &mut dv,
        layout,
        shape,
    );
    [o, lse, dq, dk, dv]
}
