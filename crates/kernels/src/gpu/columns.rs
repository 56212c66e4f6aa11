//! Sums over the rows of a matrix, in two phases of a fixed order.

use super::launch::Launch;
use super::{Dtype, Slice};
use crate::Error;

/// Rows of one partial sum: fixed, so that the result depends on the shape alone.
const ROWS: usize = 64;

/// Columns of a block.
const COLUMNS: u32 = 256;

/// out (d) += Σ over n rows of what the kernel of `parts` makes of each. After its own arguments that kernel takes the partial sums (parts, d),
/// n, d and the rows of a part; its grid is parts × columns.
pub(super) fn accumulate(
    parts: Launch<'_>,
    dtype: Dtype,
    out: &Slice,
    n: usize,
    d: usize,
) -> Result<(), Error> {
    let (count, columns) = (n.div_ceil(ROWS), d.div_ceil(COLUMNS as usize));
    let sums = out.gpu().alloc(Dtype::F32, count * d)?;
    parts
        .slice(&sums)
        .unsigned(n)?
        .unsigned(d)?
        .unsigned(ROWS)?
        .run(dtype, [count, columns, 1], COLUMNS, 0)?;
    Launch::new(out.gpu(), "columns_sum")
        .slice(&sums)
        .slice(out)
        .unsigned(count)?
        .unsigned(d)?
        .run(dtype, [columns, 1, 1], COLUMNS, 0)
}
