use super::Head;
use super::walk::{Chunk, Scratch, blocks, parts, runs};
use crate::Error;
use crate::error::length;
use crate::exp::exp;
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
    let head = Head::plain(hidden, w, d);
    head.check(op, rows, &vec![0; rows.len()], chunk)?;
    length(op, "lse", lse.len(), rows.len())?;
    length(op, "out", out.len(), rows.len())?;
    let starts = runs(rows);
    for chunk in Chunk::all(&starts, chunk, rows, &head) {
        let words = parts(w.len() / d);
        let mut sums = vec![vec![0f64; chunk.len()]; words.len()];
        {
            let sums = Shared::new(&mut sums);
            let units: Vec<usize> = (0..words.len()).collect();
            for_each_unit(
                &units,
                || Scratch::new(chunk.len()),
                |scratch, &p| {
                    // SAFETY: every unit has its own part.
                    let sums = unsafe { sums.at(p) };
                    accumulate(&head, &chunk, &words[p], lse, scratch, sums)
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
    head: &Head,
    chunk: &Chunk,
    words: &Range<usize>,
    lse: &[f32],
    scratch: &mut Scratch,
    sums: &mut [f64],
) -> Result<(), Error> {
    for block in blocks(words) {
        let (tile, _) = head.tile(chunk, &block, scratch)?;
        for (i, z) in tile.chunks_exact(block.len()).enumerate() {
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
