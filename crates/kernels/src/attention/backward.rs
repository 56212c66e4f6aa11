use super::{Layout, Shape, at_least, naive};
use crate::Error;

/// dq (N, H, E), dk and dv (N, K, E), written for the layout's rows, from what [`super::forward`] read and gave and the
/// gradient of its output.
///
/// The layout holds the gradient segments only: they stand first in a pack and read none but each other. Slices may be
/// longer than its rows; the rest is neither read nor written.
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
    naive::backward(q, k, v, o, lse, d_o, dq, dk, dv, layout, shape);
    Ok(())
}
