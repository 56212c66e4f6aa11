use super::{Layout, Shape, at_least, naive};
use crate::Error;

/// o (N, H, E) and lse (N, H), the log-sum-exp of the scaled scores, from q (N, H, E), k and v (N, K, E).
///
/// Slices may be longer than the layout's rows; the rest is neither read nor written.
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
    naive::forward(q, k, v, o, lse, layout, shape);
    Ok(())
}
