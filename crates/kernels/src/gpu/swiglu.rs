//! SwiGLU on the device; see [`crate::swiglu`].

use super::Slice;
use super::launch::Launch;
use crate::Error;

/// Elements of a block, as in `swiglu.cu`.
const SPAN: usize = 2048;

/// out = gate·σ(gate)·up; three slices of one length and dtype.
///
/// # Errors
/// A slice of another length or dtype.
pub fn forward(gate: &Slice, up: &Slice, out: &Slice) -> Result<(), Error> {
    let (op, n) = ("gpu::swiglu::forward", gate.len());
    up.expect(op, "up", gate.dtype(), n)?;
    out.expect(op, "out", gate.dtype(), n)?;
    Launch::new(gate.gpu(), "swiglu_forward")
        .slice(gate)
        .slice(up)
        .slice(out)
        .size(n)
        .run(gate.dtype(), [n.div_ceil(SPAN), 1, 1], 256, 0)
}

/// dgate and dup, written, from what [`forward`] read and the gradient of its output; a destination may be a source.
///
/// # Errors
/// A slice of another length or dtype.
pub fn backward(
    gate: &Slice,
    up: &Slice,
    dout: &Slice,
    dgate: &Slice,
    dup: &Slice,
) -> Result<(), Error> {
    let (op, n) = ("gpu::swiglu::backward", gate.len());
    up.expect(op, "up", gate.dtype(), n)?;
    dout.expect(op, "dout", gate.dtype(), n)?;
    dgate.expect(op, "dgate", gate.dtype(), n)?;
    dup.expect(op, "dup", gate.dtype(), n)?;
    Launch::new(gate.gpu(), "swiglu_backward")
        .slice(gate)
        .slice(up)
        .slice(dout)
        .slice(dgate)
        .slice(dup)
        .size(n)
        .run(gate.dtype(), [n.div_ceil(SPAN), 1, 1], 256, 0)
}
