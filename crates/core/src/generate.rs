//! Generation: sampling from the decoder with a key/value cache.

use halo_train::Rng;
use serde::{Deserialize, Serialize};

use crate::models::{Cache, Decoder};
use crate::{Error, Result};

/// Sequences decoded side by side.
const BATCH: usize = 64;

/// How the next token is chosen, under Hugging Face's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Longest completion, in tokens
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Sampling::default().max_new_tokens))]
    pub max_new_tokens: usize,
    /// Flatten (above 1) or sharpen (below 1) the distribution; 0 takes the most likely token
    #[cfg_attr(feature = "cli", arg(long, value_name = "T", default_value_t = Sampling::default().temperature))]
    pub temperature: f64,
    /// Sample among the K most likely tokens only; 0 for all
    #[cfg_attr(feature = "cli", arg(long, value_name = "K", default_value_t = Sampling::default().top_k))]
    pub top_k: usize,
    /// Sample among the fewest tokens that hold this much probability
    #[cfg_attr(feature = "cli", arg(long, value_name = "P", default_value_t = Sampling::default().top_p))]
    pub top_p: f64,
    /// Seed; every prompt draws from a stream of its own
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = Sampling::default().seed))]
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            max_new_tokens: 128,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            seed: 0,
        }
    }
}

impl Sampling {
    /// # Errors
    /// The first value that is out of range.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, value: String, allowed: &str| {
            Err(Error::parameter(format!("{key} = {value}; allowed: {allowed}")).with_argument(key))
        };
        if self.max_new_tokens == 0 {
            return refuse("max_new_tokens", "0".into(), "1 or more");
        }
        if !(0.0..=1e3).contains(&self.temperature) {
            return refuse("temperature", self.temperature.to_string(), "0 to 1000");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", self.top_p.to_string(), "above 0, up to 1");
        }
        Ok(())
    }
}

/// A completion: its tokens, the end token included where one was drawn, and their log-probabilities under the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// log π(token | what stands before), in nats, before temperature and truncation of the distribution.
    pub logps: Vec<f64>,
    /// Whether it ended by itself, not by `max_new_tokens`.
    pub ended: bool,
}

/// One completion for every prompt, in their order; `progress` is told how many are done.
///
/// The result for a prompt depends on the seed and its place, not on how prompts are batched.
///
/// # Errors
/// Values out of range, an empty prompt, or tokens outside the vocabulary.
pub fn generate(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    end: &[u32],
    sampling: &Sampling,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Completion>> {
    sampling.check()?;
    let mut all = Vec::with_capacity(prompts.len());
    for (batch, prompts) in prompts.chunks(BATCH).enumerate() {
        let mut decoding = Decoding::new(decoder, prompts, batch * BATCH, end, sampling)?;
        while decoding.step()? {}
        all.append(&mut decoding.all);
        progress(all.len());
    }
    Ok(all)
}

/// Completions that grow by a token at a time, side by side.
pub struct Decoding<'a> {
    decoder: &'a Decoder,
    end: &'a [u32],
    sampling: &'a Sampling,
    rngs: Vec<Rng>,
    all: Vec<Completion>,
    /// Those that have not ended.
    live: Vec<usize>,
    /// Of the live ones. (live, vocabulary)
    logits: Vec<f32>,
    cache: Cache,
}

impl<'a> Decoding<'a> {
    /// Reads the prompts. `first` is the place of the first one among all prompts of the seed.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn new(
        decoder: &'a Decoder,
        prompts: &[Vec<u32>],
        first: usize,
        end: &'a [u32],
        sampling: &'a Sampling,
    ) -> Result<Decoding<'a>> {
        sampling.check()?;
        let seed = Rng::new(sampling.seed);
        let fork = |i| seed.fork((first + i) as u64);
        let views: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let (logits, cache) = decoder.prefill(&views)?;
        let empty = Completion {
            tokens: Vec::new(),
            logps: Vec::new(),
            ended: false,
        };
        Ok(Decoding {
            decoder,
            end,
            sampling,
            rngs: (0..prompts.len()).map(fork).collect(),
            all: vec![empty; prompts.len()],
            live: (0..prompts.len()).collect(),
            logits,
            cache,
        })
    }

    /// One more token for every completion that has not ended; whether any goes on.
    ///
    /// # Errors
    /// Those of the device.
    pub fn step(&mut self) -> Result<bool> {
        let vocabulary = self.decoder.config().vocab_size;
        let mut next = Vec::with_capacity(self.live.len());
        for (logits, &i) in self.logits.chunks_exact(vocabulary).zip(&self.live) {
            let (token, logp) = choose(logits, self.sampling, &mut self.rngs[i]);
            let completion = &mut self.all[i];
            completion.tokens.push(token);
            completion.logps.push(logp);
            completion.ended = self.end.contains(&token);
            next.push(token);
        }
        let full = |i: usize| self.all[i].tokens.len() >= self.sampling.max_new_tokens;
        let going: Vec<usize> = (0..self.live.len())
            .filter(|&at| !self.all[self.live[at]].ended && !full(self.live[at]))
            .collect();
        if going.len() < self.live.len() {
            if !going.is_empty() {
                self.cache.keep(&going);
            }
            next = going.iter().map(|&at| next[at]).collect();
            self.live = going.iter().map(|&at| self.live[at]).collect();
        }
        self.logits = match self.live.is_empty() {
            true => Vec::new(),
            false => self.decoder.step(&next, &mut self.cache)?,
        };
        Ok(!self.live.is_empty())
    }

    /// The completions as far as they are.
    pub fn completions(&self) -> &[Completion] {
        &self.all
    }
}

/// A token and its log-probability under the untempered distribution.
fn choose(logits: &[f32], sampling: &Sampling, rng: &mut Rng) -> (u32, f64) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let lse = f64::from(max)
        + logits
            .iter()
            .map(|z| f64::from(z - max).exp())
            .sum::<f64>()
            .ln();
    let token = if sampling.temperature == 0.0 {
        // The first of equals, as torch's argmax on CPU.
        (0..logits.len())
            .rev()
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
            .unwrap_or(0)
    } else {
        sample(logits, max, sampling, rng)
    };
    (token as u32, f64::from(logits[token]) - lse)
}

/// Temperature, then top-k, then top-p, as transformers orders them.
fn sample(logits: &[f32], max: f32, sampling: &Sampling, rng: &mut Rng) -> usize {
    let weight = |i: usize| (f64::from(logits[i] - max) / sampling.temperature).exp();
    let mut candidates: Vec<(usize, f64)> = (0..logits.len()).map(|i| (i, weight(i))).collect();
    if sampling.top_k > 0 || sampling.top_p < 1.0 {
        // Stable: equal weights keep their order.
        candidates.sort_by(|a, b| b.1.total_cmp(&a.1));
        if sampling.top_k > 0 {
            candidates.truncate(sampling.top_k);
        }
        let total: f64 = candidates.iter().map(|(_, w)| w).sum();
        let mut before = 0.0;
        // Kept while the mass before it is below top_p: the first is always kept.
        candidates.retain(|(_, w)| {
            let keep = before < sampling.top_p * total;
            before += w;
            keep
        });
    }
    let total: f64 = candidates.iter().map(|(_, w)| w).sum();
    let mut left = rng.uniform() * total;
    for &(token, weight) in &candidates {
        left -= weight;
        if left < 0.0 {
            return token;
        }
    }
    // Rounding can leave a last crumb of probability.
    candidates.last().map_or(0, |(token, _)| *token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, -1.0];

    fn draws(sampling: &Sampling) -> [usize; 4] {
        let mut rng = Rng::new(1);
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[choose(&LOGITS, sampling, &mut rng).0 as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_the_most_likely() {
        let sampling = Sampling {
            temperature: 0.0,
            ..Sampling::default()
        };
        assert_eq!(choose(&[1.0, 3.0, 3.0], &sampling, &mut Rng::new(0)).0, 1);
    }

    #[test]
    fn samples_follow_the_softmax() {
        let total: f64 = LOGITS.iter().map(|z| f64::from(*z).exp()).sum();
        for (token, count) in draws(&Sampling::default()).iter().enumerate() {
            let expected = 4000.0 * f64::from(LOGITS[token]).exp() / total;
            // Four standard deviations of a binomial.
            assert!(
                (*count as f64 - expected).abs() < 4.0 * expected.sqrt() + 1.0,
                "{token}"
            );
        }
    }

    #[test]
    fn top_k_and_top_p_leave_the_tail_out() {
        let [a, b, c, d] = draws(&Sampling {
            top_k: 2,
            ..Sampling::default()
        });
        assert!(a == 0 && d == 0 && b > 0 && c > 0);
        // The most likely token holds 64 %, the two most likely 88 %.
        let [a, b, c, d] = draws(&Sampling {
            top_p: 0.7,
            ..Sampling::default()
        });
        assert!(a == 0 && d == 0 && b > 0 && c > 0);
        assert_eq!(
            draws(&Sampling {
                top_p: 0.6,
                ..Sampling::default()
            })[1],
            4000
        );
    }

    #[test]
    fn the_reported_log_probability_ignores_the_temperature() {
        let sampling = Sampling {
            temperature: 0.0,
            ..Sampling::default()
        };
        let (_, logp) = choose(&LOGITS, &sampling, &mut Rng::new(0));
        let total: f64 = LOGITS.iter().map(|z| f64::from(*z).exp()).sum();
        assert!((logp - (2.0 - total.ln())).abs() < 1e-12);
    }
}
