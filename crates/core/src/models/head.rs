//! The head: log-probabilities of scored tokens only, in chunks, without keeping logits.

use halo_train::Score;

use super::linear::Param;
use super::norm::RmsNorm;
use super::scalar;
use crate::array::Array;
use crate::bank::Bank;
use crate::device::Dtype;
use crate::ops::{Indices, embedding, head, matmul};
use crate::{Error, Result};

/// Final norm and unembedding, or a reward model's scalar head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) norm: RmsNorm,
    /// (V, D); the embedding table itself where the two are tied. (1, D) of a scalar head.
    pub(crate) weight: Param,
    /// Whether an entry's number is w·h instead of a log-probability; its target then means nothing.
    pub(crate) scalar: bool,
}

/// Numbers of scored entries (M), wherever they were computed: nobody has waited for them yet.
pub(crate) struct Scored {
    pub(crate) logps: Numbers,
    /// Absent unless asked for.
    pub(crate) log_collisions: Option<Numbers>,
}

/// Numbers on the host, or still on the device.
pub(crate) enum Numbers {
    Host(Vec<f32>),
    Device(Array),
}

impl Numbers {
    /// Waits for them.
    pub(crate) fn take(self) -> Result<Vec<f32>> {
        match self {
            Numbers::Host(numbers) => Ok(numbers),
            Numbers::Device(array) => array.to_vec(),
        }
    }
}

/// What backward needs of one scoring.
pub(crate) struct Saved {
    rows: Indices,          // pack row of each distinct scored row (S)
    entries: head::Entries, // position in `rows`, and target, of each entry (M)
    x: Array,               // (S, D), before the norm
    rstd: Array,            // (S)
    kept: Kept,
}

/// A frozen head keeps the unscaled gradient, a trained one recomputes the logits.
enum Kept {
    Gradient(Array),                    // u = W[y] − softmax·W, (M, D)
    Logsumexp { h: Array, lse: Array }, // (S, D), (M)
    Hidden(Array),                      // (S, D), of a scalar head
}

impl Head {
    /// Log-probabilities in nats of the entries' targets, and ln Σ_v p_v² if asked for: x (N, D) → (M).
    pub(crate) fn score(
        &self,
        x: &Array,
        entries: &[Score],
        collisions: bool,
        save: bool,
    ) -> Result<(Scored, Option<Saved>)> {
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
        let device = x.device();
        let rows = Indices::new(&device, rows)?;
        let targets = entries.iter().map(|entry| entry.target).collect();
        let entries = head::Entries::new(&device, index, targets)?;

        let x = embedding::forward(&rows, x)?;
        let (h, rstd) = self.norm.forward(&x)?;
        let (scored, kept) = match self.scalar {
            true => {
                let scored = Scored {
                    logps: Numbers::Host(scalar::forward(&h, &self.weight, entries.rows())?),
                    log_collisions: None,
                };
                (scored, Kept::Hidden(h))
            }
            false => self.score_tokens(h, &entries, collisions, save)?,
        };
        let saved = save.then_some(Saved {
            rows,
            entries,
            x,
            rstd,
            kept,
        });
        Ok((scored, saved))
    }

    fn score_tokens(
        &self,
        h: Array,
        entries: &head::Entries,
        collisions: bool,
        save: bool,
    ) -> Result<(Scored, Kept)> {
        let w = &self.weight.array;
        let keep = save && self.weight.slot.is_none();
        let (logps, lse, u) = head::forward(&h, w, entries, keep)?;
        let log_collisions = match collisions {
            true => Some(Numbers::Device(head::log_collisions(&h, w, entries, &lse)?)),
            false => None,
        };
        let scored = Scored {
            logps: Numbers::Device(logps),
            log_collisions,
        };
        let kept = match u {
            Some(u) => Kept::Gradient(u),
            None => Kept::Logsumexp { h, lse },
        };
        Ok((scored, kept))
    }

    /// Adds d loss / d x to `dx` (G, D), given d loss / d logp of every entry (M).
    pub(crate) fn backward(
        &self,
        saved: Saved,
        dlogps: &[f32],
        dx: &Array,
        bank: &Bank,
    ) -> Result<()> {
        let Saved {
            rows,
            entries,
            x,
            rstd,
            kept,
        } = saved;
        let w = &self.weight.array;
        let dh = x.zeros_like()?;
        let upload = || Array::from_vec(&x.device(), Dtype::F32, dlogps.to_vec(), [dlogps.len()]);
        match (kept, self.weight.slot) {
            (Kept::Logsumexp { h, lse }, Some(slot)) => {
                let dw = bank.gradient(slot)?;
                head::backward_trained(&h, w, &lse, &entries, &upload()?, &dh, &dw)?;
            }
            (Kept::Gradient(u), _) => head::backward_frozen(&u, &upload()?, &entries, &dh)?,
            (Kept::Hidden(h), _) => {
                scalar::backward(&h, &self.weight, entries.rows(), dlogps, &dh, bank)?;
            }
            (Kept::Logsumexp { .. }, None) => {
                return Err(Error::internal(
                    "a frozen head was scored without its gradient",
                ));
            }
        }
        let dgathered = dh.zeros_like()?;
        self.norm.backward(&x, &rstd, &dh, &dgathered, bank)?;
        embedding::backward(&rows, &dgathered, dx)
    }

    /// Logits of given rows, for sampling: x (R, D) → (R, V).
    pub(crate) fn logits(&self, x: &Array) -> Result<Vec<f32>> {
        let (h, _) = self.norm.forward(x)?;
        matmul::linear_on_host(&h, &self.weight.array)
    }

    pub(crate) fn frozen(&self) -> Result<Head> {
        Ok(Head {
            norm: self.norm.frozen()?,
            weight: self.weight.frozen()?,
            scalar: self.scalar,
        })
    }
}
