//! The scalar head of a reward model: one score an entry, s = w·h, as Hugging Face's models for sequence classification with one label.
//!
//! A product a sequence: it is computed on the host, in f64, wherever the model is.

use super::linear::Param;
use crate::Result;
use crate::array::Array;
use crate::bank::Bank;

/// h (S, D), w (1, D), the entries' rows of h (M) → scores (M).
pub(super) fn forward(h: &Array, weight: &Param, index: &[u32]) -> Result<Vec<f32>> {
    let d = h.dim(1)?;
    let (h, w) = (h.host()?, weight.array.host()?);
    let score = |&row: &u32| {
        let h = &h[row as usize * d..][..d];
        // in f64: one product a sequence costs nothing, and pairs differ in its last digits
        let sum: f64 = h
            .iter()
            .zip(w.iter())
            .map(|(h, w)| f64::from(*h) * f64::from(*w))
            .sum();
        sum as f32
    };
    Ok(index.iter().map(score).collect())
}

/// dh (S, D) += ds·w, and dw += ds·h into the bank, given d loss / d score (M).
pub(super) fn backward(
    h: &Array,
    weight: &Param,
    index: &[u32],
    dscores: &[f32],
    dh: &Array,
    bank: &Bank,
) -> Result<()> {
    let d = h.dim(1)?;
    let (h, w) = (h.host()?, weight.array.host()?);
    dh.edit_host(|dh| {
        for (&row, &ds) in index.iter().zip(dscores) {
            let at = row as usize * d;
            dh[at..at + d]
                .iter_mut()
                .zip(w.iter())
                .for_each(|(dh, w)| *dh += ds * w);
        }
        Ok(())
    })?;
    let Some(slot) = weight.slot else {
        return Ok(());
    };
    bank.gradient(slot)?.edit_host(|dw| {
        for (&row, &ds) in index.iter().zip(dscores) {
            let h = &h[row as usize * d..][..d];
            dw.iter_mut().zip(h).for_each(|(dw, h)| *dw += ds * h);
        }
        Ok(())
    })
}
