use super::{BLOCK, Chunk, blocks, check, parts, runs};
use crate::Error;
use crate::error::length;
use crate::exp::exp;
use crate::matmul::{Mat, MatMut, matmul_here};
use crate::parallel::{Shared, for_each_unit};
use crate::simd::{Kernel, dispatch};
use std::ops::Range;

/// ln Σ_v p_v² (M) of the distribution over the vocabulary at every entry, in nats: lse(2z) − 2·lse(z), from hidden (N, D),
/// w (V, D) and the entries' lse (M) that [`super::forward`] gave.
///
/// A second pass over the output matrix, for the losses that ask for it: [`super::forward`] stays as lean as it is.
///
/// # Errors
/// A slice of another length; a row outside its table.
pub fn log_collisions(
    hidden: &[f32],
    w: &[f32],
    d: usize,
    rows: &[u32],
    lse: &[f32],
    out: &mut [f32],
    chunk: usize,
) -> Result<(), Error> {
    let op = "head::log_collisions";
    check(
        op,
        hidden.len(),
        w.len(),
        d,
        rows,
        &vec![0; rows.len()],
        chunk,
    )?;
    length(op, "lse", lse.len(), rows.len())?;
    length(op, "out", out.len(), rows.len())?;
    let starts = runs(rows);
    for chunk in Chunk::all(&starts, chunk, rows, hidden, d) {
        let words = parts(w.len() / d);
        let mut sums = vec![vec![0f64; chunk.len()]; words.len()];
        {
            let sums = Shared::new(&mut sums);
            let units: Vec<usize> = (0..words.len()).collect();
            for_each_unit(
                &units,
                || vec![0.0; chunk.len() * BLOCK],
                |tile, &p| {
                    // SAFETY: every unit has its own part.
                    let sums = unsafe { sums.at(p) };
                    accumulate(&chunk, &words[p], w, d, lse, tile, sums)
                },
            )?;
        }
        for i in 0..chunk.len() {
            let sum: f64 = sums.iter().map(|part| part[i]).sum();
            for m in chunk.entries(i) {
                out[m] = sum.ln() as f32;
            }
        }
    }
    Ok(())
}

/// Adds one part of the vocabulary: Σ exp(z − lse)².
fn accumulate(
    chunk: &Chunk,
    words: &Range<usize>,
    w: &[f32],
    d: usize,
    lse: &[f32],
    tile: &mut [f32],
    sums: &mut [f64],
) -> Result<(), Error> {
    let c = chunk.len();
    for block in blocks(words) {
        let n = block.len();
        let tile = &mut tile[..c * n];
        let words = Mat::new(&w[block.start * d..block.end * d], n, d)?;
        let hidden = Mat::new(&chunk.hidden, c, d)?;
        matmul_here(MatMut::new(tile, c, n)?, 0.0, 1.0, hidden, words.t())?;
        for (i, z) in tile.chunks_exact(n).enumerate() {
            let lse = lse[chunk.entries(i).start];
            sums[i] += f64::from(dispatch(Squares { z, lse }));
        }
    }
    Ok(())
}

/// Σ exp(z − lse)² of one row of a tile.
struct Squares<'a> {
    z: &'a [f32],
    lse: f32,
}

impl Kernel for Squares<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f32 {
        let square = |z: &f32| {
            let p = exp::<FMA>(*z - self.lse);
            p * p
        };
        self.z.iter().map(square).sum()
    }
}
