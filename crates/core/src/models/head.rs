//! The head: log-probabilities of scored tokens only, in chunks, without keeping logits.

use candle_core::Tensor;
use halo_kernels::{embedding, head};
use halo_train::Score;

use super::linear::Param;
use super::norm::RmsNorm;
use super::rows::zeros_like;
use super::scalar;
use crate::Result;
use crate::bank::Bank;
use crate::storage::{self, edit, values};

/// Final norm and unembedding, or a reward model's scalar head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) norm: RmsNorm,
    /// (V, D); the embedding table itself where the two are tied. (1, D) of a scalar head.
    pub(crate) weight: Param,
    /// Whether an entry's number is w·h instead of a log-probability; its target then means nothing.
    pub(crate) scalar: bool,
}

/// Numbers of scored entries (M).
pub(crate) struct Scored {
    pub(crate) logps: Vec<f32>,
    /// Empty unless asked for.
    pub(crate) log_collisions: Vec<f32>,
}

/// What backward needs of one scoring.
pub(crate) struct Saved {
    rows: Vec<u32>,    // pack row of each distinct scored row (S)
    index: Vec<u32>,   // position in `rows` of each entry (M)
    targets: Vec<u32>, // (M)
    x: Tensor,         // (S, D), before the norm
    rstd: Vec<f32>,    // (S)
    kept: Kept,
}

/// A frozen head keeps the unscaled gradient, a trained one recomputes the logits.
enum Kept {
    Gradient(Vec<f32>),                     // u = W[y] − softmax·W, (M, D)
    Logsumexp { h: Tensor, lse: Vec<f32> }, // (S, D), (M)
    Hidden(Tensor),                         // (S, D), of a scalar head
}

impl Head {
    /// Log-probabilities in nats of the entries' targets, and ln Σ_v p_v² if asked for: x (N, D) → (M).
    pub(crate) fn score(
        &self,
        x: &Tensor,
        entries: &[Score],
        collisions: bool,
        save: bool,
    ) -> Result<(Scored, Option<Saved>)> {
        let d = self.weight.tensor.dim(1)?;
        // Entries are sorted by row: equal rows stand together.
        let mut rows: Vec<u32> = entries.iter().map(|entry| entry.row).collect();
        rows.dedup();
        let mut at = 0;
        let index: Vec<u32> = entries
            .iter()
            .map(|entry| {
                while rows[at] != entry.row {
                    at += 1;
                }
                at as u32
            })
            .collect();
        let targets: Vec<u32> = entries.iter().map(|entry| entry.target).collect();

        let mut gathered = vec![0f32; rows.len() * d];
        embedding::forward(&rows, &values(x)?, &mut gathered, d)?;
        let x = storage::tensor(gathered, (rows.len(), d))?;
        let (h, rstd) = self.norm.forward(&x)?;

        if self.scalar {
            let scored = Scored {
                logps: scalar::forward(&h, &self.weight, &index)?,
                log_collisions: Vec::new(),
            };
            let kept = Kept::Hidden(h);
            let saved = save.then_some(Saved {
                rows,
                index,
                targets,
                x,
                rstd,
                kept,
            });
            return Ok((scored, saved));
        }
        let m = entries.len();
        let (mut logps, mut lse) = (vec![0f32; m], vec![0f32; m]);
        let mut u = (save && self.weight.slot.is_none()).then(|| vec![0f32; m * d]);
        head::forward(
            &values(&h)?,
            &values(&self.weight.tensor)?,
            d,
            &index,
            &targets,
            &mut logps,
            &mut lse,
            u.as_deref_mut(),
            head::CHUNK,
        )?;
        let mut log_collisions = vec![0f32; if collisions { m } else { 0 }];
        if collisions {
            head::log_collisions(
                &values(&h)?,
                &values(&self.weight.tensor)?,
                d,
                &index,
                &lse,
                &mut log_collisions,
                head::CHUNK,
            )?;
        }
        let kept = match u {
            Some(u) => Kept::Gradient(u),
            None => Kept::Logsumexp { h, lse },
        };
        let saved = save.then_some(Saved {
            rows,
            index,
            targets,
            x,
            rstd,
            kept,
        });
        let scored = Scored {
            logps,
            log_collisions,
        };
        Ok((scored, saved))
    }

    /// Adds d loss / d x to `dx` (G, D), given d loss / d logp of every entry (M).
    pub(crate) fn backward(
        &self,
        saved: Saved,
        dlogps: &[f32],
        dx: &Tensor,
        bank: &Bank,
    ) -> Result<()> {
        let Saved {
            rows,
            index,
            targets,
            x,
            rstd,
            kept,
        } = saved;
        let d = self.weight.tensor.dim(1)?;
        let mut dh = vec![0f32; rows.len() * d];
        match (kept, self.weight.slot) {
            (Kept::Logsumexp { h, lse }, Some(slot)) => bank.accumulate(slot, |dw| {
                Ok(head::backward_trained(
                    &values(&h)?,
                    &values(&self.weight.tensor)?,
                    d,
                    &lse,
                    &index,
                    &targets,
                    dlogps,
                    &mut dh,
                    dw,
                    head::CHUNK,
                )?)
            })?,
            (Kept::Gradient(u), _) => head::backward_frozen(&u, dlogps, &index, &mut dh, d)?,
            (Kept::Hidden(h), _) => {
                scalar::backward(&h, &self.weight, &index, dlogps, &mut dh, bank)?;
            }
            (Kept::Logsumexp { .. }, None) => {
                return Err(crate::Error::internal(
                    "a frozen head was scored without its gradient",
                ));
            }
        }
        let dh = storage::tensor(dh, (rows.len(), d))?;
        let dgathered = zeros_like(&dh)?;
        self.norm.backward(&x, &rstd, &dh, &dgathered, bank)?;
        let dgathered = values(&dgathered)?;
        edit(dx, |dx| Ok(embedding::backward(&rows, &dgathered, dx, d)?))
    }

    /// Logits of given rows, for sampling: x (R, D) → (R, V).
    pub(crate) fn logits(&self, x: &Tensor) -> Result<Vec<f32>> {
        let (vocabulary, d) = self.weight.tensor.dims2()?;
        let (h, _) = self.norm.forward(x)?;
        let n = h.dim(0)?;
        let mut logits = vec![0f32; n * vocabulary];
        halo_kernels::matmul::linear(
            &values(&h)?,
            &values(&self.weight.tensor)?,
            &mut logits,
            n,
            d,
            vocabulary,
            0.0,
        )?;
        Ok(logits)
    }

    pub(crate) fn frozen(&self) -> Result<Head> {
        Ok(Head {
            norm: self.norm.frozen()?,
            weight: self.weight.frozen()?,
            scalar: self.scalar,
        })
    }
}
