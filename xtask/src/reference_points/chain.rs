//! A policy that can be taken apart: a first-order chain over eight tokens, of which one ends the answer.
//!
//! An answer has 1 to [`LENGTH`] tokens, the end token included; one that has not ended by then is cut off. The next token depends on
//! the one before only, so an expectation over all answers is a sum over [`LENGTH`] · [`VOCABULARY`]² transitions.

use halo_train::Rng;

pub(super) const VOCABULARY: usize = 8;
pub(super) const LENGTH: usize = 6;
/// As the next token, the end; as the token before, the beginning: nothing follows the end.
pub(super) const END: usize = VOCABULARY - 1;

/// A number for each transition: (before, next).
pub(super) type Transitions = [[f64; VOCABULARY]; VOCABULARY];

/// The distribution of answers to one prompt.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// ln p(next | before)
    logps: Transitions,
    probabilities: Transitions,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    tokens: [u8; LENGTH],
    length: usize,
}

impl Chain {
    pub(super) fn new(logits: &Transitions) -> Chain {
        let logps = logits.map(|row| {
            let peak = row.into_iter().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|logit| libm::exp(logit - peak)).sum();
            let normalizer = peak + libm::log(sum);
            row.map(|logit| logit - normalizer)
        });
        Chain {
            logps,
            probabilities: logps.map(|row| row.map(libm::exp)),
        }
    }

    pub(super) fn sample(&self, rng: &mut Rng) -> Answer {
        let (mut tokens, mut length, mut before) = ([0; LENGTH], 0, END);
        while length < LENGTH {
            let mut rest = rng.uniform();
            let drawn = self.probabilities[before][..END].iter().position(|p| {
                rest -= p;
                rest < 0.0
            });
            before = drawn.unwrap_or(END);
            tokens[length] = before as u8;
            length += 1;
            if before == END {
                break;
            }
        }
        Answer { tokens, length }
    }

    /// ln p of each token of an answer, nats.
    pub(super) fn logps<'a>(&'a self, answer: &'a Answer) -> impl Iterator<Item = f64> + 'a {
        answer
            .transitions()
            .map(|(before, next)| self.logps[before][next])
    }

    /// E[Σ_t f(before, next)] over all answers, exactly: from the last place to the first, what is still to come after each token.
    pub(super) fn expect(&self, f: impl Fn(usize, usize) -> f64) -> f64 {
        let mut to_come = [0.0; VOCABULARY];
        for _ in 0..LENGTH {
            let mut here = [0.0; VOCABULARY];
            for (before, sum) in here.iter_mut().enumerate() {
                for (next, p) in self.probabilities[before].iter().enumerate() {
                    let later = if next == END { 0.0 } else { to_come[next] };
                    *sum += p * (f(before, next) + later);
                }
            }
            to_come = here;
        }
        to_come[END]
    }

    /// E[ln policy − ln reference] of this chain's answers, nats: of the policy itself, KL(policy ‖ reference).
    pub(super) fn mean_log_ratio(&self, policy: &Chain, reference: &Chain) -> f64 {
        self.expect(|before, next| policy.logps[before][next] - reference.logps[before][next])
    }
}

impl Answer {
    pub(super) fn tokens(&self) -> u32 {
        self.length as u32
    }

    pub(super) fn transitions(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let tokens = self.tokens[..self.length].iter().map(|&t| usize::from(t));
        std::iter::once(END).chain(tokens.clone()).zip(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rng: &mut Rng) -> Chain {
        Chain::new(&[[0.0; VOCABULARY]; VOCABULARY].map(|row| row.map(|_| 1.5 * rng.normal())))
    }

    /// Every answer that begins so, one by one.
    fn all(tokens: &mut Vec<u8>, visit: &mut impl FnMut(&Answer)) {
        if tokens.len() == LENGTH || tokens.last() == Some(&(END as u8)) {
            let mut answer = Answer {
                tokens: [0; LENGTH],
                length: tokens.len(),
            };
            answer.tokens[..tokens.len()].copy_from_slice(tokens);
            return visit(&answer);
        }
        for next in 0..VOCABULARY as u8 {
            tokens.push(next);
            all(tokens, visit);
            tokens.pop();
        }
    }

    #[test]
    fn the_exact_divergence_is_that_of_all_answers_one_by_one() {
        let mut rng = Rng::new(1);
        let (policy, reference, other) = (random(&mut rng), random(&mut rng), random(&mut rng));
        let (mut mass, mut divergence, mut elsewhere, mut answers) = (0.0, 0.0, 0.0, 0);
        all(&mut Vec::new(), &mut |answer| {
            let logp: f64 = policy.logps(answer).sum();
            let ratio = logp - reference.logps(answer).sum::<f64>();
            mass += libm::exp(logp);
            divergence += libm::exp(logp) * ratio;
            elsewhere += libm::exp(other.logps(answer).sum()) * ratio;
            answers += 1;
        });
        // Σ 7^k endings after 0..=5 tokens, and 7⁶ that are cut off.
        assert_eq!(
            answers,
            (0..6).map(|k| 7u32.pow(k)).sum::<u32>() + 7u32.pow(6)
        );
        // Sums of 137,257 terms: a few hundred roundings of 1e-16.
        assert!((mass - 1.0).abs() < 1e-12, "{mass}");
        let exact = policy.mean_log_ratio(&policy, &reference);
        assert!(
            (divergence - exact).abs() < 1e-12 && exact > 0.1,
            "{divergence} {exact}"
        );
        let exact = other.mean_log_ratio(&policy, &reference);
        assert!((elsewhere - exact).abs() < 1e-12, "{elsewhere} {exact}");
    }

    #[test]
    fn samples_have_the_mean_that_the_sum_says() {
        let mut rng = Rng::new(2);
        let (policy, reference) = (random(&mut rng), random(&mut rng));
        let ratio = |rng: &mut Rng| {
            let answer = policy.sample(rng);
            policy.logps(&answer).sum::<f64>() - reference.logps(&answer).sum::<f64>()
        };
        let draws: Vec<f64> = (0..40_000).map(|_| ratio(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 40_000.0;
        let square: f64 = draws.iter().map(|x| (x - mean) * (x - mean)).sum();
        let standard_error = (square / 40_000.0 / 40_000.0).sqrt();
        let exact = policy.mean_log_ratio(&policy, &reference);
        assert!(
            (mean - exact).abs() < 5.0 * standard_error,
            "{mean} {exact}"
        );
    }
}
