//! The reference policy: a frozen model, and optionally a cache of its log-probabilities on disk.

mod cache;

use halo_train::{Dataset, Job, Pack, Sequence};

use crate::models::Decoder;
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

    /// Sums over completion tokens in nats, one a sequence of the job. What the cache knows is not computed again.
    pub(crate) fn logps(&mut self, job: &Job, data: &Dataset) -> Result<Vec<f64>> {
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

    /// Lets the weights go: from now on only the cache answers.
    pub(crate) fn release(&mut self) {
        self.model = None;
    }
}

fn score(model: &Option<Decoder>, pack: &Pack) -> Result<Vec<f64>> {
    match model {
        Some(model) => Ok(pack.sum_logps(&model.forward(pack, false)?.0)),
        None => Err(Error::internal(
            "the reference was asked for what its cache does not hold",
        )),
    }
}
