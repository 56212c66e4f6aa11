//! Row by row, key by key, as the formula says; reads and writes what [`super::forward`] and [`super::backward`] do.

use super::{Layout, Shape};
use crate::float::Float;

/// The rows that row `row` of segment `s` attends to, itself last.
pub fn visible(layout: &Layout, s: usize, row: usize) -> Vec<usize> {
    let seg = &layout.segments[s];
    let position = seg.pos0 + row - seg.rows.start;
    let mut keys = Vec::new();
    for &a in &seg.kv {
        let part = &layout.segments[a];
        for key in part.rows.clone() {
            let key_position = part.pos0 + key - part.rows.start;
            let in_window = layout
                .window
                .is_none_or(|w| key_position.saturating_add(w) > position);
            if key_position <= position && in_window {
                keys.push(key);
            }
        }
    }
    keys
}

/// o (N, H, E) and lse (N, H) from q (N, H, E), k and v (N, K, E).
pub fn forward<T: Float>(
    q: &[T],
    k: &[T],
    v: &[T],
    o: &mut [T],
    lse: &mut [T],
    layout: &Layout,
    shape: &Shape,
) {
    let e = shape.head_dim;
    for (s, seg) in layout.segments.iter().enumerate() {
        for row in seg.rows.clone() {
            let keys = visible(layout, s, row);
            for h in 0..shape.heads {
                let q = &q[row * shape.q_width() + h * e..][..e];
                let at = |key: usize| key * shape.kv_width() + h / shape.group() * e;
                let scores: Vec<T> = keys.iter().map(|&j| score(q, &k[at(j)..], shape)).collect();
                let max = scores
                    .iter()
                    .fold(T::NEG_INFINITY, |m, &x| if x > m { x } else { m });
                let mut sum = T::ZERO;
                for &x in &scores {
                    sum += (x - max).exp();
                }
                let total = max + sum.ln();
                lse[row * shape.heads + h] = total;
                let o = &mut o[row * shape.q_width() + h * e..][..e];
                o.fill(T::ZERO);
                for (&key, &x) in keys.iter().zip(&scores) {
                    let p = (x - total).exp();
                    for (o, &v) in o.iter_mut().zip(&v[at(key)..]) {
                        *o += p * v;
                    }
                }
            }
        }
    }
}

/// dq, dk, dv, written for the layout's rows.
pub fn backward<T: Float>(
    q: &[T],
    k: &[T],
    v: &[T],
    o: &[T],
    lse: &[T],
    d_o: &[T],
    dq: &mut [T],
    dk: &mut [T],
    dv: &mut [T],
    layout: &Layout,
    shape: &Shape,
) {
    let e = shape.head_dim;
    let scale = T::from_f64(f64::from(shape.scale));
    dq[..layout.rows() * shape.q_width()].fill(T::ZERO);
    dk[..layout.rows() * shape.kv_width()].fill(T::ZERO);
    dv[..layout.rows() * shape.kv_width()].fill(T::ZERO);
    for (s, seg) in layout.segments.iter().enumerate() {
        for row in seg.rows.clone() {
            for h in 0..shape.heads {
                let own = row * shape.q_width() + h * e;
                let delta = dot(&d_o[own..], &o[own..], e);
                for key in visible(layout, s, row) {
                    let at = key * shape.kv_width() + h / shape.group() * e;
                    let p = (score(&q[own..], &k[at..], shape) - lse[row * shape.heads + h]).exp();
                    let ds = p * (dot(&d_o[own..], &v[at..], e) - delta) * scale;
                    for i in 0..e {
                        dv[at + i] += p * d_o[own + i];
                        dq[own + i] += ds * k[at + i];
                        dk[at + i] += ds * q[own + i];
                    }
                }
            }
        }
    }
}

fn score<T: Float>(q: &[T], k: &[T], shape: &Shape) -> T {
    dot(q, k, shape.head_dim) * T::from_f64(f64::from(shape.scale))
}

fn dot<T: Float>(a: &[T], b: &[T], e: usize) -> T {
    let mut sum = T::ZERO;
    for i in 0..e {
        sum += a[i] * b[i];
    }
    sum
}
