use super::{BLOCK, Chunk, blocks, check, parts, runs};
use crate::Error;
use crate::error::{indices, length};
use crate::exp::exp;
use crate::matmul::{Mat, MatMut, matmul_here};
use crate::parallel::{Shared, for_each_unit};
use crate::simd::{Kernel, dispatch};

/// dhidden (N, D) += dlogps·u from the vectors that [`super::forward`] stored: the backward of a frozen head.
///
/// # Errors
/// A slice of another length; a row outside dhidden.
pub fn backward_frozen(
    u: &[f32],
    dlogps: &[f32],
    rows: &[u32],
    dhidden: &mut [f32],
    d: usize,
) -> Result<(), Error> {
    let op = "head::backward_frozen";
    if d == 0 {
        return Err(Error::shape(op, "d must be at least 1"));
    }
    length(op, "u", u.len(), rows.len() * d)?;
    length(op, "dlogps", dlogps.len(), rows.len())?;
    length(op, "dhidden", dhidden.len(), dhidden.len() / d * d)?;
    indices(op, "rows", rows, dhidden.len() / d)?;
    // A few million additions a pack: not worth a task.
    for ((u, g), &row) in u.chunks_exact(d).zip(dlogps).zip(rows) {
        for (dh, u) in dhidden[row as usize * d..][..d].iter_mut().zip(u) {
            *dh += g * u;
        }
    }
    Ok(())
}

/// dhidden (N, D) += and dw (V, D) +=, with logits recomputed from hidden (N, D), w (V, D) and the saved lse (M).
///
/// Three matrix products a block of the vocabulary. At most `chunk` rows at a time ([`super::CHUNK`]).
///
/// # Errors
/// A slice of another length; a row or a target outside its table.
pub fn backward_trained(
    hidden: &[f32],
    w: &[f32],
    d: usize,
    lse: &[f32],
    rows: &[u32],
    targets: &[u32],
    dlogps: &[f32],
    dhidden: &mut [f32],
    dw: &mut [f32],
    chunk: usize,
) -> Result<(), Error> {
    let op = "head::backward_trained";
    check(op, hidden.len(), w.len(), d, rows, targets, chunk)?;
    length(op, "lse", lse.len(), rows.len())?;
    length(op, "dlogps", dlogps.len(), rows.len())?;
    length(op, "dhidden", dhidden.len(), hidden.len())?;
    length(op, "dw", dw.len(), w.len())?;
    let starts = runs(rows);
    for chunk in Chunk::all(&starts, chunk, rows, hidden, d) {
        let pass = Pass {
            chunk: &chunk,
            w,
            d,
            lse,
            targets,
            dlogps,
        };
        let parts = parts(w.len() / d);
        let size = chunk.len() * d;
        // (parts, rows, D), added up in order below.
        let mut sums = vec![0.0; parts.len() * size];
        {
            let (dw, sums) = (Shared::new(dw), Shared::new(&mut sums));
            let units: Vec<usize> = (0..parts.len()).collect();
            for_each_unit(
                &units,
                || vec![0.0; chunk.len() * BLOCK],
                |tile, &p| {
                    let words = parts[p].start * d..parts[p].end * d;
                    // SAFETY: every part has its own words and its own sums.
                    let (dw, dh) =
                        unsafe { (dw.slice(words), sums.slice(p * size..(p + 1) * size)) };
                    for (block, dw) in blocks(&parts[p]).zip(dw.chunks_mut(BLOCK * d)) {
                        pass.block(block.start, tile, dh, dw)?;
                    }
                    Ok(())
                },
            )?;
        }
        for i in 0..chunk.len() {
            let out = &mut dhidden[rows[chunk.starts[i]] as usize * d..][..d];
            for sums in sums.chunks_exact(size) {
                for (out, dh) in out.iter_mut().zip(&sums[i * d..(i + 1) * d]) {
                    *out += dh;
                }
            }
        }
    }
    Ok(())
}

struct Pass<'a> {
    chunk: &'a Chunk<'a>,
    w: &'a [f32],
    d: usize,
    lse: &'a [f32],
    targets: &'a [u32],
    dlogps: &'a [f32],
}

impl Pass<'_> {
    /// Adds the part of the words from `first` on, as many as `dw` has rows, to dh (rows, D) and dw (words, D).
    fn block(
        &self,
        first: usize,
        tile: &mut [f32],
        dh: &mut [f32],
        dw: &mut [f32],
    ) -> Result<(), Error> {
        let (c, d, n) = (self.chunk.len(), self.d, dw.len() / self.d);
        let tile = &mut tile[..c * n];
        let words = Mat::new(&self.w[first * d..(first + n) * d], n, d)?;
        let hidden = Mat::new(&self.chunk.hidden, c, d)?;
        matmul_here(MatMut::new(tile, c, n)?, 0.0, 1.0, hidden, words.t())?;
        dispatch(Gradient {
            tile,
            n,
            first,
            pass: self,
        });
        let dz = Mat::new(tile, c, n)?;
        matmul_here(MatMut::new(dh, c, d)?, 1.0, 1.0, dz, words)?;
        matmul_here(MatMut::new(dw, n, d)?, 1.0, 1.0, dz.t(), hidden)
    }
}

/// Logits become dz = Σ over the row's entries of dlogp·(δ_target − softmax).
struct Gradient<'a> {
    tile: &'a mut [f32], // (rows, n)
    n: usize,
    first: usize,
    pass: &'a Pass<'a>,
}

impl Kernel for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (i, z) in self.tile.chunks_exact_mut(self.n).enumerate() {
            let entries = self.pass.chunk.entries(i);
            let lse = self.pass.lse[entries.start];
            let total: f32 = self.pass.dlogps[entries.clone()].iter().sum();
            for z in z.iter_mut() {
                *z = -total * exp::<FMA>(*z - lse);
            }
            for m in entries {
                let y = self.pass.targets[m] as usize;
                if (self.first..self.first + self.n).contains(&y) {
                    z[y - self.first] += self.pass.dlogps[m];
                }
            }
        }
    }
}
