//! The small world of the study: prompts, their references, and a policy that leaves them along one direction.
//!
//! Half of the variance of the reference's logits is common to all prompts; how much of the policy's way is, is the world's `share`.

use halo_train::Rng;

use super::chain::{Answer, Chain, END, Transitions, VOCABULARY};

pub(super) const PROMPTS: usize = 64;
/// Optimiser steps of a run, from the reference on at constant speed.
pub(super) const STEPS: usize = 160;
/// Where a run's last part, which is measured, begins.
pub(super) const MEASURED: usize = 128;
/// The middle of the part that is measured: there the divergence is what was asked for.
pub(super) const MIDDLE: usize = (MEASURED + STEPS) / 2;

const SEED: u64 = 2402;

pub(super) struct World {
    logits: Vec<Transitions>,
    directions: Vec<Transitions>,
    /// What answers are picked and labelled by; the direction has half of it right.
    rewards: Vec<Transitions>,
    pub(super) references: Vec<Chain>,
}

/// A run of the policy: what it is at each step, and what the estimators are to find.
pub(super) struct Path {
    /// (step, prompt)
    pub(super) policies: Vec<Vec<Chain>>,
    /// KL(π ‖ π_ref) of each prompt's answers, nats: (step, prompt)
    pub(super) own: Vec<Vec<f64>>,
    /// Its mean over prompts: (step)
    pub(super) exact: Vec<f64>,
}

impl World {
    /// `share`: which part of the variance of the policy's way all prompts have in common.
    pub(super) fn new(share: f64) -> World {
        let rng = Rng::new(SEED);
        let blend = |share: f64, stream: u64| -> Vec<Transitions> {
            let common = normals(&mut rng.fork(stream));
            let own = |prompt| normals(&mut rng.fork(stream + 1 + prompt as u64));
            let parts = (share.sqrt(), (1.0 - share).sqrt());
            let mix = |own| combine(&common, parts.0, &own, parts.1);
            (0..PROMPTS).map(own).map(mix).collect()
        };
        let mut logits = blend(0.5, 1 << 10);
        // Long answers are usual.
        for row in logits.iter_mut().flatten() {
            row[END] -= 1.0;
        }
        let directions = blend(share, 2 << 10);
        let half = 0.5f64.sqrt();
        let noise = blend(0.0, 3 << 10);
        let rewards = directions.iter().zip(&noise);
        World {
            references: logits.iter().map(Chain::new).collect(),
            rewards: rewards.map(|(d, n)| combine(d, half, n, half)).collect(),
            logits,
            directions,
        }
    }

    /// The way to a mean divergence of `target` nats.
    ///
    /// # Errors
    /// None that long leads there.
    pub(super) fn path(&self, target: f64) -> Result<Path, String> {
        let end = self.scale(target)? / MIDDLE as f64;
        let policies: Vec<_> = (0..STEPS).map(|t| self.policies(end * t as f64)).collect();
        let own: Vec<_> = policies.iter().map(|p| self.divergences(p)).collect();
        Ok(Path {
            policies,
            exact: own.iter().map(|own| mean(own)).collect(),
            own,
        })
    }

    /// How far along its direction the policy is `target` nats away, by bisection.
    fn scale(&self, target: f64) -> Result<f64, String> {
        let divergence = |scale| mean(&self.divergences(&self.policies(scale)));
        let (mut low, mut high) = (0.0, 32.0);
        if divergence(high) < target {
            return Err(format!("no policy of this world is {target} nats away"));
        }
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            match divergence(middle) < target {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(high)
    }

    fn policies(&self, scale: f64) -> Vec<Chain> {
        let both = self.logits.iter().zip(&self.directions);
        both.map(|(logits, direction)| Chain::new(&combine(logits, 1.0, direction, scale)))
            .collect()
    }

    /// Of each prompt's answers.
    fn divergences(&self, policies: &[Chain]) -> Vec<f64> {
        let both = policies.iter().zip(&self.references);
        both.map(|(policy, reference)| policy.mean_log_ratio(policy, reference))
            .collect()
    }

    pub(super) fn reward(&self, prompt: usize, answer: &Answer) -> f64 {
        let reward = &self.rewards[prompt];
        answer.transitions().map(|(a, b)| reward[a][b]).sum()
    }

    /// (KL, mean log-ratio of the policy's own answers under every other prompt, of the reference's answers there), exact, at `target`.
    ///
    /// # Errors
    /// As [`World::path`].
    pub(super) fn mismatched(&self, target: f64) -> Result<(f64, f64, f64), String> {
        let policies = self.policies(self.scale(target)?);
        let elsewhere = |behaviour: &[Chain]| {
            let mut sum = 0.0;
            for (x, (policy, reference)) in policies.iter().zip(&self.references).enumerate() {
                for (other, chain) in behaviour.iter().enumerate() {
                    if other != x {
                        sum += chain.mean_log_ratio(policy, reference);
                    }
                }
            }
            sum / (PROMPTS * (PROMPTS - 1)) as f64
        };
        let exact = mean(&self.divergences(&policies));
        Ok((exact, elsewhere(&policies), elsewhere(&self.references)))
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn normals(rng: &mut Rng) -> Transitions {
    [[0.0; VOCABULARY]; VOCABULARY].map(|row| row.map(|_| rng.normal()))
}

/// a·x + b·y.
fn combine(x: &Transitions, a: f64, y: &Transitions, b: f64) -> Transitions {
    let mut sum = *x;
    for (row, other) in sum.iter_mut().zip(y) {
        for (x, y) in row.iter_mut().zip(other) {
            *x = a * *x + b * y;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_from_the_reference_to_the_divergence_asked_for() {
        let path = World::new(0.5).path(1.0).unwrap();
        assert!(path.exact[0].abs() < 1e-12 && (path.exact[MIDDLE] - 1.0).abs() < 1e-9);
        assert!(path.exact.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn prompts_that_share_everything_differ_from_prompts_that_share_nothing() {
        let (_, all, _) = World::new(1.0).mismatched(1.0).unwrap();
        let (_, none, _) = World::new(0.0).mismatched(1.0).unwrap();
        assert!(all > 0.5 && none < 0.0, "{all} {none}");
    }
}
