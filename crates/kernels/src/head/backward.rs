use super::Head;
use super::online::Seed;
use super::walk::{Chunk, Scratch, blocks, parts, runs};
use crate::Error;
use crate::elements::ElementsMut;
use crate::error::{indices, length};
use crate::matmul::{Mat, MatMut, matmul_here};
use crate::parallel::{Shared, for_each_unit};
use crate::shaping::Shaping;
use crate::simd::{Kernel, dispatch};
use std::ops::Range;

/// What comes back to the scores: dL/dlogp, and what the softmax is recomputed from.
#[derive(Clone, Copy, Debug)]
pub struct Seeds<'a> {
    /// (M): what forward gave.
    pub lse: &'a [f32],
    /// (M).
    pub dlogps: &'a [f32],
    /// (M) each: the entropies that forward gave, and dL/dentropy.
    pub entropy: Option<(&'a [f32], &'a [f32])>,
}

impl Seeds<'_> {
    pub(super) fn check(&self, op: &'static str, m: usize) -> Result<(), Error> {
        length(op, "lse", self.lse.len(), m)?;
        length(op, "dlogps", self.dlogps.len(), m)?;
        if let Some((entropy, dentropy)) = self.entropy {
            length(op, "entropy", entropy.len(), m)?;
            length(op, "dentropy", dentropy.len(), m)?;
        }
        Ok(())
    }

    /// What the entries of one row say together.
    #[inline(always)]
    pub(super) fn row(&self, entries: Range<usize>) -> Seed {
        let first = entries.start;
        let (entropy, dentropy) = match self.entropy {
            Some((entropy, dentropy)) => (entropy[first], dentropy[entries.clone()].iter().sum()),
            None => (0.0, 0.0),
        };
        Seed {
            lse: self.lse[first],
            dlogp: self.dlogps[entries].iter().sum(),
            entropy,
            dentropy,
        }
    }
}

/// Where [`Head::backward`] adds gradients; None where one is not wanted.
#[derive(Debug, Default)]
pub struct Grads<'a> {
    /// (N, D).
    pub dhidden: Option<&'a mut [f32]>,
    /// (V, D); of half width it is rounded once a chunk of rows.
    pub dw: Option<ElementsMut<'a>>,
    /// (V).
    pub dbias: Option<&'a mut [f32]>,
}

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
/// At most `chunk` rows at a time ([`super::CHUNK`]).
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
    let seeds = Seeds {
        lse,
        dlogps,
        entropy: None,
    };
    let grads = Grads {
        dhidden: Some(dhidden),
        dw: Some(ElementsMut::F32(dw)),
        dbias: None,
    };
    Head::plain(hidden, w, d).backward(rows, targets, seeds, grads, chunk)
}

impl Head<'_> {
    /// Adds the gradients of what `seeds` weigh, with logits recomputed.
    ///
    /// Up to three matrix products a block of the vocabulary. At most `chunk` rows at a time ([`super::CHUNK`]).
    ///
    /// # Errors
    /// A slice of another length; a row or a target outside its table.
    pub fn backward(
        &self,
        rows: &[u32],
        targets: &[u32],
        seeds: Seeds,
        grads: Grads,
        chunk: usize,
    ) -> Result<(), Error> {
        let op = "head::backward";
        self.check(op, rows, targets, chunk)?;
        seeds.check(op, rows.len())?;
        let (d, v) = (self.d, self.w.len() / self.d);
        let (mut grads, starts) = (grads, runs(rows));
        if let Some(dhidden) = &grads.dhidden {
            length(op, "dhidden", dhidden.len(), self.hidden.len())?;
        }
        if let Some(dw) = &grads.dw {
            length(op, "dw", dw.len(), v * d)?;
        }
        if let Some(dbias) = &grads.dbias {
            length(op, "dbias", dbias.len(), v)?;
        }
        for chunk in Chunk::all(&starts, chunk, rows, self) {
            let pass = Pass {
                head: self,
                chunk: &chunk,
                targets,
                seeds: &seeds,
            };
            let parts = parts(v);
            // (parts, rows, D), added up in order below.
            let size = grads.dhidden.as_ref().map_or(0, |_| chunk.len() * d);
            let mut sums = vec![0.0; parts.len() * size];
            let mut pieces = pass.pieces(&parts, &mut sums, size, &mut grads);
            let units: Vec<usize> = (0..parts.len()).collect();
            {
                let pieces = Shared::new(&mut pieces);
                for_each_unit(
                    &units,
                    || Scratch::new(chunk.len()),
                    |scratch, &p| {
                        // SAFETY: every unit has its own part.
                        let piece = unsafe { pieces.at(p) };
                        blocks(&parts[p]).try_for_each(|block| {
                            pass.block(&block, parts[p].start, scratch, piece)
                        })
                    },
                )?;
            }
            let Some(dhidden) = grads.dhidden.as_deref_mut() else {
                continue;
            };
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
}

/// Where one part of the vocabulary adds.
struct Piece<'a> {
    dhidden: &'a mut [f32],       // (rows, D), or empty
    dw: Option<ElementsMut<'a>>,  // (words, D)
    dbias: Option<&'a mut [f32]>, // (words)
}

struct Pass<'a> {
    head: &'a Head<'a>,
    chunk: &'a Chunk<'a>,
    targets: &'a [u32],
    seeds: &'a Seeds<'a>,
}

impl Pass<'_> {
    /// The gradients cut along the vocabulary.
    fn pieces<'g>(
        &self,
        parts: &[Range<usize>],
        sums: &'g mut [f32],
        size: usize,
        grads: &'g mut Grads,
    ) -> Vec<Piece<'g>> {
        let d = self.head.d;
        let words = |width: usize| parts.iter().map(move |part| part.len() * width);
        let dw = grads.dw.as_mut().map(|dw| dw.again().pieces(words(d)));
        let dbias = grads.dbias.as_deref_mut();
        let dbias = dbias.map(|dbias| ElementsMut::F32(dbias).pieces(words(1)));
        let mut dw = dw.into_iter().flatten();
        let mut dbias = dbias.into_iter().flatten();
        let mut sums = sums.chunks_exact_mut(size.max(1));
        parts
            .iter()
            .map(|_| Piece {
                dhidden: sums.next().unwrap_or_default(),
                dw: dw.next(),
                dbias: dbias.next().and_then(ElementsMut::f32),
            })
            .collect()
    }

    /// Adds what the words of `block` say; the piece begins at the word `first`.
    fn block(
        &self,
        block: &Range<usize>,
        first: usize,
        scratch: &mut Scratch,
        piece: &mut Piece,
    ) -> Result<(), Error> {
        let (c, d, n) = (self.chunk.len(), self.head.d, block.len());
        let mut products = std::mem::take(&mut scratch.sums);
        let (tile, words) = self.head.tile(self.chunk, block, scratch)?;
        dispatch(Gradient {
            tile,
            n,
            first: block.start,
            pass: self,
        });
        let dz = Mat::new(tile, c, n)?;
        if !piece.dhidden.is_empty() {
            let dh = MatMut::new(piece.dhidden, c, d)?;
            matmul_here(dh, 1.0, 1.0, dz, Mat::new(words, n, d)?)?;
        }
        let hidden = Mat::new(&self.chunk.hidden, c, d)?;
        let at = block.start - first;
        match &mut piece.dw {
            Some(ElementsMut::F32(dw)) => {
                let dw = MatMut::new(&mut dw[at * d..(at + n) * d], n, d)?;
                matmul_here(dw, 1.0, 1.0, dz.t(), hidden)?;
            }
            Some(dw) => {
                products.resize(n * d, 0.0);
                let product = MatMut::new(&mut products, n, d)?;
                matmul_here(product, 0.0, 1.0, dz.t(), hidden)?;
                dw.add(at * d, &products)?;
            }
            None => {}
        }
        if let Some(dbias) = piece.dbias.as_deref_mut() {
            for dz in tile.chunks_exact(n) {
                for (db, dz) in dbias[at..at + n].iter_mut().zip(dz) {
                    *db += dz;
                }
            }
        }
        scratch.sums = products;
        Ok(())
    }
}

/// Logits become the gradient by h·W + b: Σ over the row's entries of dlogp·(δ_target − softmax), and what the entropy says,
/// times dz/dx.
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
        let shaping = &self.pass.head.shaping;
        let shaped = *shaping != Shaping::PLAIN;
        let mut slopes = [0.0; super::BLOCK];
        for (i, z) in self.tile.chunks_exact_mut(self.n).enumerate() {
            if shaped {
                for (slope, z) in slopes.iter_mut().zip(&*z) {
                    *slope = shaping.slope(*z);
                }
            }
            let entries = self.pass.chunk.entries(i);
            self.pass.seeds.row(entries.clone()).spread::<FMA>(z);
            for m in entries {
                let y = self.pass.targets[m] as usize;
                if (self.first..self.first + self.n).contains(&y) {
                    z[y - self.first] += self.pass.seeds.dlogps[m];
                }
            }
            if shaped {
                for (z, slope) in z.iter_mut().zip(&slopes) {
                    *z *= slope;
                }
            }
        }
    }
}
