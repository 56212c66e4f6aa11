//! The head of a host that has the logits already: their log-softmax, and its gradient, in place if the host likes.

use super::BLOCK;
use super::backward::Seeds;
use super::forward::Scores;
use super::online::{Softmax, merge};
use crate::Error;
use crate::elements::{Elements, ElementsMut};
use crate::error::{indices, length};
use crate::parallel::{Shared, for_each_unit};
use crate::shaping::Shaping;
use crate::simd::{Kernel, dispatch, max};
use std::ops::Range;

/// Logits (N, V), one row an entry of the head.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    /// (N, V); −∞ masks a word out.
    pub values: Elements<'a>,
    /// V.
    pub v: usize,
    /// What is done to them first.
    pub shaping: Shaping,
}

/// Where [`backward`] writes the gradient by the logits (N, V).
#[derive(Debug)]
pub enum Place<'a> {
    /// A buffer of its own, beside the logits.
    Beside(Elements<'a>, ElementsMut<'a>),
    /// Over the logits.
    Over(ElementsMut<'a>),
}

impl Logits<'_> {
    /// Scores the entries (`rows`, `targets`), as [`super::Head::forward`].
    ///
    /// # Errors
    /// A slice of another length; a row or a target outside its table; gradients are not stored in this form.
    pub fn forward(&self, rows: &[u32], targets: &[u32], scores: Scores) -> Result<(), Error> {
        let op = "head::logits::forward";
        check(op, self.values.len(), self.v, rows, targets)?;
        length(op, "logps", scores.logps.len(), rows.len())?;
        length(op, "lse", scores.lse.len(), rows.len())?;
        if scores.stored.is_some() {
            return Err(Error::shape(
                op,
                "logits have no hidden states to store gradients of",
            ));
        }
        let moments = scores.entropy.as_ref().map_or(0, |_| 1);
        let mut none = [];
        let entropy = scores.entropy.unwrap_or(&mut none);
        length(op, "entropy", entropy.len(), rows.len() * moments)?;
        let logps = Shared::new(scores.logps);
        let (lse, entropy) = (Shared::new(scores.lse), Shared::new(entropy));
        each(rows.len(), |m, tile| {
            let (row, y) = (rows[m] as usize, targets[m] as usize);
            let (mut top, mut sum, mut moment) = ([f32::NEG_INFINITY], [0.0], [0.0]);
            let mut target = 0.0;
            for block in blocks(self.v) {
                let z = self.tile(row, &block, tile);
                if block.contains(&y) {
                    target = z[y - block.start];
                }
                dispatch(Softmax {
                    n: z.len(),
                    tile: z,
                    max: &mut top,
                    sum: &mut sum,
                    moment: &mut moment[..moments],
                    acc: &mut [],
                    d: 0,
                    slope: None,
                });
            }
            let (total, spread) = merge(std::iter::once((top[0], sum[0], moment[0])));
            // SAFETY: every unit has its own entry.
            unsafe {
                *lse.at(m) = total as f32;
                *logps.at(m) = (f64::from(target) - total) as f32;
                if moments > 0 {
                    *entropy.at(m) = spread as f32;
                }
            }
        })
    }

    /// The first entry whose lse cannot be that of its row: a logit is NaN, or too large for it.
    ///
    /// # Errors
    /// A slice of another length; a row outside the logits.
    pub fn misfit(&self, rows: &[u32], lse: &[f32]) -> Result<Option<usize>, Error> {
        let op = "head::logits::misfit";
        check(op, self.values.len(), self.v, rows, &[])?;
        length(op, "lse", lse.len(), rows.len())?;
        let mut fits = vec![true; rows.len()];
        {
            let fits = Shared::new(&mut fits);
            each(rows.len(), |m, tile| {
                // No logit is above the log-sum-exp, but for its rounding.
                let limit = lse[m] + 1e-3 * (1.0 + lse[m].abs());
                let mut blocks = blocks(self.v);
                let fine = blocks.all(|block| {
                    let z = self.tile(rows[m] as usize, &block, tile);
                    dispatch(Below { z, limit })
                });
                // SAFETY: every unit has its own entry.
                unsafe { *fits.at(m) = fine };
            })?;
        }
        Ok(fits.iter().position(|fits| !fits))
    }

    /// The shaped logits of one row and block.
    fn tile<'t>(&self, row: usize, block: &Range<usize>, tile: &'t mut [f32]) -> &'t mut [f32] {
        let z = &mut tile[..block.len()];
        let start = row * self.v;
        self.values.copy(start + block.start..start + block.end, z);
        dispatch(Shape {
            z,
            shaping: &self.shaping,
        });
        z
    }
}

/// The gradient by the logits (N, V) of what `seeds` weigh; 0 in rows without an entry. At most one entry a row.
///
/// # Errors
/// A slice of another length; a row or a target outside its table; rows that do not rise.
pub fn backward(
    place: Place,
    v: usize,
    shaping: Shaping,
    rows: &[u32],
    targets: &[u32],
    seeds: Seeds,
) -> Result<(), Error> {
    let op = "head::logits::backward";
    let (beside, mut out) = match place {
        Place::Beside(values, out) => (Some(values), out),
        Place::Over(out) => (None, out),
    };
    check(op, out.len(), v, rows, targets)?;
    seeds.check(op, rows.len())?;
    if let Some(values) = &beside {
        length(op, "logits", values.len(), out.len())?;
    }
    if !rows.is_sorted_by(|a, b| a < b) {
        return Err(Error::shape(op, "rows must rise: one entry a row"));
    }
    let n = out.len() / v;
    let mut lines = out.again().pieces((0..n).map(|_| v));
    let lines = Shared::new(&mut lines);
    each(n, |row, tile| {
        // SAFETY: every unit has its own row.
        let line = unsafe { lines.at(row) };
        let Ok(m) = rows.binary_search(&(row as u32)) else {
            line.clear();
            return;
        };
        let y = targets[m] as usize;
        for block in blocks(v) {
            let z = &mut tile[..block.len()];
            match &beside {
                Some(values) => values.copy(row * v + block.start..row * v + block.end, z),
                None => line.read().copy(block.clone(), z),
            }
            dispatch(Gradient {
                z,
                shaping: &shaping,
                target: block.contains(&y).then(|| y - block.start),
                entry: m,
                seeds: &seeds,
            });
            line.put(block.start, z);
        }
    })
}

fn check(
    op: &'static str,
    values: usize,
    v: usize,
    rows: &[u32],
    targets: &[u32],
) -> Result<(), Error> {
    if v == 0 {
        return Err(Error::shape(op, "v must be at least 1"));
    }
    length(op, "logits", values, values / v * v)?;
    indices(op, "rows", rows, values / v)?;
    indices(op, "targets", targets, v)
}

fn blocks(v: usize) -> impl Iterator<Item = Range<usize>> {
    (0..v)
        .step_by(BLOCK)
        .map(move |first| first..(first + BLOCK).min(v))
}

/// Runs `body` for every number below `n`, each with a tile at hand.
fn each(n: usize, body: impl Fn(usize, &mut [f32]) + Sync) -> Result<(), Error> {
    let units: Vec<usize> = (0..n).collect();
    for_each_unit(
        &units,
        || [0.0; BLOCK],
        |tile, &unit| {
            body(unit, tile);
            Ok(())
        },
    )
}

/// Logits as the softmax sees them.
struct Shape<'a> {
    z: &'a mut [f32],
    shaping: &'a Shaping,
}

impl Kernel for Shape<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.shaping.apply::<FMA>(self.z);
    }
}

/// Whether no number is NaN or above the limit.
struct Below<'a> {
    z: &'a [f32],
    limit: f32,
}

impl Kernel for Below<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> bool {
        // NaN is not below anything, −∞ is.
        max(self.z) <= self.limit && !self.z.iter().fold(false, |nan, z| nan | z.is_nan())
    }
}

/// One row's logits of a block become their gradient.
struct Gradient<'a> {
    z: &'a mut [f32],
    shaping: &'a Shaping,
    target: Option<usize>,
    entry: usize,
    seeds: &'a Seeds<'a>,
}

impl Kernel for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let mut slopes = [0.0; BLOCK];
        self.shaping.apply::<FMA>(self.z);
        for (slope, z) in slopes.iter_mut().zip(&*self.z) {
            *slope = self.shaping.slope(*z);
        }
        let seed = self.seeds.row(self.entry..self.entry + 1);
        seed.spread::<FMA>(self.z);
        if let Some(y) = self.target {
            self.z[y] += self.seeds.dlogps[self.entry];
        }
        for (z, slope) in self.z.iter_mut().zip(&slopes) {
            *z *= slope;
        }
    }
}
