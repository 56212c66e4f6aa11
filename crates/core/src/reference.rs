//! The reference policy: a frozen model, and optionally a cache of its log-probabilities on disk.

mod cache;

use halo_train::{Answer, Ask, Dataset, Job, Pack, Sequence};

use crate::array::Array;
use crate::bank::{Bank, Entry};
use crate::models::Decoder;
use crate::ops::elementwise;
use crate::{Error, Result};
pub(crate) use cache::{LogpCache, fingerprint};

/// What answers for π_ref: a model (frozen copy, adapter snapshot or another folder), its cache, or both.
pub(crate) struct Reference {
    model: Option<Decoder>,
    cache: Option<LogpCache>,
}

impl Reference {
    pub(crate) fn new(model: Decoder, cache: Option<LogpCache>) -> Reference {
        Reference {
            model: Some(model),
            cache,
        }
    }

    /// What a forward pass is asked for. Sums that the cache knows are not computed again; tokens are never cached.
    pub(crate) fn answer(&mut self, job: &Job, ask: Ask, data: &Dataset) -> Result<Answer> {
        match (ask, &self.model) {
            (Ask::Sums | Ask::Scores, _) => Ok(Answer::Logps(self.logps(job, data)?)),
            (Ask::Tokens { .. }, Some(model)) => Ok(model.answer(&job.pack, ask, false)?.0),
            (Ask::Tokens { .. }, None) => Err(Error::state(
                "the reference's weights were let go (precompute_ref_log_probs), and its cache holds no tokens",
            )),
        }
    }

    /// π_ref := mix·π + (1 − mix)·π_ref over what is trained: all weights, or the adapters on the base that both share.
    ///
    /// # Errors
    /// A reference without the policy's trained tensors.
    pub(crate) fn follow(&mut self, bank: &Bank, mix: f64) -> Result<()> {
        let theirs = self.trained(bank)?;
        for (entry, tensor) in bank.entries().iter().zip(theirs) {
            if let Some(slot) = bank.slot(&entry.name) {
                elementwise::mix(&tensor, &bank.view(slot)?.0, mix)?;
            }
        }
        Ok(())
    }

    /// The reference's own tensors of the bank's names, in the bank's order.
    ///
    /// # Errors
    /// One that the reference does not have: it is a model of another form than the policy.
    pub(crate) fn trained(&self, bank: &Bank) -> Result<Vec<Array>> {
        let named = self.model.as_ref().map(Decoder::named).unwrap_or_default();
        let find = |entry: &Entry| {
            let tensor = named
                .get(&entry.name)
                .filter(|tensor| tensor.shape() == entry.shape);
            tensor.cloned().ok_or_else(|| {
                let message = format!(
                    "reference_sync: the reference has no {} of the policy's shape: leave --reference out, so that it is the starting policy",
                    entry.name
                );
                Error::parameter(message).with_argument("reference_sync")
            })
        };
        bank.entries().iter().map(find).collect()
    }

    /// Sums over completion tokens in nats, one a sequence of the job. What the cache knows is not computed again.
    fn logps(&mut self, job: &Job, data: &Dataset) -> Result<Vec<f64>> {
        let Some(cache) = &mut self.cache else {
            return score(&self.model, &job.pack);
        };
        let pair = |i: usize| {
            let sequence = &job.sequences[i];
            let records = &data.records;
            (
                records[sequence.prompt].prompt.as_slice(),
                records[sequence.completion].completion.as_slice(),
            )
        };
        let mut logps: Vec<Option<f64>> = (0..job.sequences.len())
            .map(|i| cache.get(pair(i).0, pair(i).1))
            .collect();
        let missing: Vec<usize> = (0..logps.len()).filter(|&i| logps[i].is_none()).collect();
        if !missing.is_empty() {
            let sequences: Vec<Sequence> = missing
                .iter()
                .map(|&i| Sequence {
                    prompt: pair(i).0,
                    completion: pair(i).1,
                    grad: false,
                })
                .collect();
            let scored = score(&self.model, &Pack::build(&sequences, true))?;
            for (&i, logp) in missing.iter().zip(scored) {
                cache.insert(pair(i).0, pair(i).1, logp);
                logps[i] = Some(logp);
            }
        }
        Ok(logps.into_iter().flatten().collect())
    }

    /// Writes what the cache has learnt, if there is one.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.cache.as_mut().map_or(Ok(()), LogpCache::flush)
    }

    /// Whether it can be asked for what no cache holds.
    pub(crate) fn has_weights(&self) -> bool {
        self.model.is_some()
    }

    /// Lets the weights go: from now on only the cache answers.
    pub(crate) fn release(&mut self) {
        self.model = None;
    }
}

fn score(model: &Option<Decoder>, pack: &Pack) -> Result<Vec<f64>> {
    match model {
        Some(model) => Ok(pack.sum_logps(&model.forward(pack, false)?.0)),
        None => Err(Error::state(
            "the reference's weights were let go (precompute_ref_log_probs), and its cache does not hold what is asked",
        )),
    }
}
