//! Sums, scales and copies of whole slices, `F32` or `Bf16`.

use super::launch::Launch;
use super::{Dtype, Slice};
use crate::Error;

/// Elements of a block, as in `elementwise.cu`.
const SPAN: usize = 2048;

/// x += y.
///
/// # Errors
/// A slice of another length or dtype.
pub fn add(x: &Slice, y: &Slice) -> Result<(), Error> {
    y.expect("gpu::elementwise::add", "y", x.dtype(), x.len())?;
    let launch = Launch::new(x.gpu(), "elementwise_add").slice(x).slice(y);
    run(launch, x.dtype(), x.len())
}

/// x *= factor.
///
/// # Errors
/// Those of the driver.
pub fn scale(x: &Slice, factor: f32) -> Result<(), Error> {
    let launch = Launch::new(x.gpu(), "elementwise_scale").slice(x);
    run(launch.float(factor), x.dtype(), x.len())
}

/// x = value.
///
/// # Errors
/// Those of the driver.
pub fn fill(x: &Slice, value: f32) -> Result<(), Error> {
    let launch = Launch::new(x.gpu(), "elementwise_fill").slice(x);
    run(launch.float(value), x.dtype(), x.len())
}

/// y = x in y's dtype, rounded to nearest even where that is narrower.
///
/// # Errors
/// A slice of another length; neither of them `F32`.
pub fn convert(x: &Slice, y: &Slice) -> Result<(), Error> {
    let op = "gpu::elementwise::convert";
    y.expect(op, "y", y.dtype(), x.len())?;
    let (kernel, dtype) = match x.dtype() {
        Dtype::F32 => ("elementwise_narrow", y.dtype()),
        _ => ("elementwise_widen", x.dtype()),
    };
    if x.dtype() != Dtype::F32 {
        y.expect(op, "y", Dtype::F32, x.len())?;
    }
    run(
        Launch::new(x.gpu(), kernel).slice(x).slice(y),
        dtype,
        x.len(),
    )
}

/// theirs = share·ours + (1 − share)·theirs.
///
/// # Errors
/// A slice of another length or dtype.
pub fn mix(theirs: &Slice, ours: &Slice, share: f32) -> Result<(), Error> {
    ours.expect(
        "gpu::elementwise::mix",
        "ours",
        theirs.dtype(),
        theirs.len(),
    )?;
    let launch = Launch::new(theirs.gpu(), "elementwise_mix")
        .slice(theirs)
        .slice(ours)
        .float(share)
        .float(1.0 - share);
    run(launch, theirs.dtype(), theirs.len())
}

fn run(launch: Launch, dtype: Dtype, n: usize) -> Result<(), Error> {
    if !matches!(dtype, Dtype::F32 | Dtype::Bf16) {
        let reason = "the elements are neither f32 nor bf16";
        return Err(Error::shape("gpu::elementwise", reason));
    }
    launch.size(n).run(dtype, [n.div_ceil(SPAN), 1, 1], 256, 0)
}
