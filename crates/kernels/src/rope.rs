//! Rotary position embedding in Hugging Face's layout: element i of a head is rotated with element i + E/2.

use crate::Error;
use crate::error::{indices, length};
use crate::float::Float;
use crate::simd::{Kernel, dispatch};
use rayon::prelude::*;

/// Rows of one task.
const ROWS: usize = 64;

/// Cosines and sines of position × inverse frequency: two tables (positions, E/2).
#[derive(Clone, Debug)]
pub struct RopeTable {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
    positions: usize,
}

impl RopeTable {
    /// Angles of positions 0..positions for the E/2 inverse frequencies, which carry the model's rope scaling.
    ///
    /// The angle is the f32 product, as `transformers` computes it: at position 4000 the f64 product would differ from
    /// it by 1e-4. The cosine and sine of that angle are then correctly rounded.
    pub fn new(inv_freq: &[f32], positions: usize) -> RopeTable {
        let angles =
            || (0..positions).flat_map(|p| inv_freq.iter().map(move |f| f64::from(p as f32 * f)));
        RopeTable {
            cos: angles().map(|a| a.cos() as f32).collect(),
            sin: angles().map(|a| a.sin() as f32).collect(),
            half: inv_freq.len(),
            positions,
        }
    }

    /// Positions that the table covers.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// E, twice the number of frequencies.
    pub fn head_dim(&self) -> usize {
        2 * self.half
    }

    /// The cosines (positions, E/2).
    pub(crate) fn cos(&self) -> &[f32] {
        &self.cos
    }

    /// The sines (positions, E/2).
    pub(crate) fn sin(&self) -> &[f32] {
        &self.sin
    }
}

/// Rotates x (N, heads, E) in place, row n by `positions[n]`.
///
/// # Errors
/// A slice of another length; a position outside the table.
pub fn apply(
    x: &mut [f32],
    heads: usize,
    positions: &[u32],
    table: &RopeTable,
) -> Result<(), Error> {
    rotate("rope::apply", x, heads, positions, table, 1.0)
}

/// Rotates by the negative angle: the transpose of [`apply`], for gradients.
///
/// # Errors
/// As [`apply`].
pub fn apply_transposed(
    x: &mut [f32],
    heads: usize,
    positions: &[u32],
    table: &RopeTable,
) -> Result<(), Error> {
    rotate("rope::apply_transposed", x, heads, positions, table, -1.0)
}

fn rotate(
    op: &'static str,
    x: &mut [f32],
    heads: usize,
    positions: &[u32],
    table: &RopeTable,
    sign: f32,
) -> Result<(), Error> {
    let row = heads * table.head_dim();
    length(op, "x", x.len(), positions.len() * row)?;
    indices(op, "positions", positions, table.positions)?;
    if x.is_empty() {
        return Ok(());
    }
    x.par_chunks_mut(ROWS * row)
        .zip(positions.par_chunks(ROWS))
        .for_each(|(x, positions)| {
            dispatch(Rotate {
                x,
                heads,
                positions,
                table,
                sign,
            });
        });
    Ok(())
}

struct Rotate<'a> {
    x: &'a mut [f32],
    heads: usize,
    positions: &'a [u32],
    table: &'a RopeTable,
    sign: f32,
}

impl Kernel for Rotate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let half = self.table.half;
        for (x, &p) in self
            .x
            .chunks_exact_mut(self.heads * 2 * half)
            .zip(self.positions)
        {
            let at = p as usize * half..(p as usize + 1) * half;
            let (cos, sin) = (&self.table.cos[at.clone()], &self.table.sin[at]);
            for head in x.chunks_exact_mut(2 * half) {
                let (a, b) = head.split_at_mut(half);
                for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                    let sin = self.sign * sin;
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}

/// The textbook form, for one head (E) at one position: sign 1 forward, −1 transposed.
pub fn naive<T: Float>(x: &mut [T], cos: &[T], sin: &[T], sign: T) {
    let half = x.len() / 2;
    for i in 0..half {
        let (a, b) = (x[i], x[i + half]);
        x[i] = a * cos[i] - sign * b * sin[i];
        x[i + half] = b * cos[i] + sign * a * sin[i];
    }
}
