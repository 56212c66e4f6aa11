//! A policy over a few outputs of one prompt, as a table of logits beside a reference distribution, and its descent on the exact
//! expected loss: what a loss wants when nothing generalises and nothing is sampled.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::{of_policies, row};
use crate::error::Error;
use crate::evaluate::{Evaluation, Normalizer, evaluate};
use crate::example::{Label, Row};
use crate::loss::Loss;
use crate::reference_point::Source;
use crate::spec::DataShape;

/// The largest step of a logit, nats: small, because a push with a reference point in it belongs to no potential, and a large
/// step could jump over the place where it turns.
const STRIDE: f64 = 0.05;

/// A gap of logits beyond which a policy has run away: e^-40 is below the rounding of 1.
const FAR: f64 = 40.0;

/// A push below this share of the slopes that it is summed of is their rounding.
const ROUNDING: f64 = 1e-13;

/// A share of judgements that prefer one output to another; shares sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Preference {
    /// The index of the preferred output.
    pub chosen: usize,
    /// The index of the other.
    pub rejected: usize,
    /// How much of all judgements says so.
    pub share: f64,
}

/// A softmax of logits, and the reference that it starts from.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tabular {
    logits: Vec<f64>,
    ref_logps: Vec<f64>,
}

/// Where a descent ended.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Descent {
    /// π of each output.
    pub probabilities: Vec<f64>,
    /// Steps taken.
    pub steps: u32,
    /// Whether it came to rest, or ran so far that an output's probability is lost in rounding; if not, steps ran out.
    pub settled: bool,
}

impl Tabular {
    /// The policy that is the reference, given as probabilities.
    ///
    /// # Errors
    /// Fewer than two outputs, one that is not positive, a sum that is not 1.
    pub fn new(reference: &[f64]) -> Result<Tabular, Error> {
        if reference.len() < 2 {
            let message = format!(
                "reference has {} outputs: two are the least",
                reference.len()
            );
            return Err(Error::data("reference", message));
        }
        if let Some((at, p)) = reference
            .iter()
            .enumerate()
            .find(|(_, p)| !(**p > 0.0 && p.is_finite()))
        {
            return Err(Error::data(
                "reference",
                format!("reference[{at}] = {p} is not positive"),
            ));
        }
        let sum: f64 = reference.iter().sum();
        if (sum - 1.0).abs() > 1e-9 {
            return Err(Error::data(
                "reference",
                format!("reference sums to {sum}, not to 1"),
            ));
        }
        let logps: Vec<f64> = reference.iter().map(|p| libm::log(*p)).collect();
        Ok(Tabular {
            logits: logps.clone(),
            ref_logps: logps,
        })
    }

    /// The same reference under a policy of other logits.
    ///
    /// # Errors
    /// Another number of logits than of outputs, or one that is not finite.
    pub fn at(mut self, logits: &[f64]) -> Result<Tabular, Error> {
        if logits.len() != self.logits.len() || logits.iter().any(|x| !x.is_finite()) {
            let message = format!("logits: {} finite numbers are needed", self.logits.len());
            return Err(Error::data("logits", message));
        }
        self.logits.copy_from_slice(logits);
        Ok(self)
    }

    /// ln π of each output.
    pub fn logps(&self) -> Vec<f64> {
        let top = self
            .logits
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, super::larger);
        let sum: f64 = self.logits.iter().map(|x| libm::exp(x - top)).sum();
        let lse = top + libm::log(sum);
        self.logits.iter().map(|x| x - lse).collect()
    }

    /// π of each output.
    pub fn probabilities(&self) -> Vec<f64> {
        self.logps().iter().map(|x| libm::exp(*x)).collect()
    }

    /// KL(π ‖ π_ref), nats: what the reference point estimates where prompts have the same outputs.
    pub fn divergence(&self) -> f64 {
        let logps = self.logps();
        let terms = logps.iter().zip(&self.ref_logps);
        terms
            .map(|(logp, ref_logp)| libm::exp(*logp) * (logp - ref_logp))
            .sum()
    }

    /// The exact expected loss and its gradient by the logits. A loss of single rows sees the chosen of each preference as
    /// desirable and the rejected as undesirable; its reference point is [`Tabular::divergence`], not differentiated, or 0
    /// where the loss has none. Outputs have one token.
    ///
    /// # Errors
    /// Preferences that name no output, shares that are negative; a loss that reads more than rows or pairs, couples them, or reads
    /// no log-probabilities.
    pub fn expected(
        &self,
        loss: &Loss,
        preferences: &[Preference],
    ) -> Result<(f64, Vec<f64>), Error> {
        let (result, gradient, _) = self.pull(loss, preferences)?;
        Ok((result.loss, gradient))
    }

    /// Descends until nothing pulls, logit by logit with steps that grow while the sign stays and halve where it turns
    /// (Rprop, Riedmiller and Braun 1993): saturated slopes then cost no patience. With a reference point that moves along, the
    /// end is a place without push, not a minimum.
    ///
    /// # Errors
    /// As [`Tabular::expected`].
    pub fn descend(
        &mut self,
        loss: &Loss,
        preferences: &[Preference],
        max_steps: u32,
    ) -> Result<Descent, Error> {
        let mut strides = vec![STRIDE / 8.0; self.logits.len()];
        let mut last = vec![0.0; self.logits.len()];
        let (mut steps, mut settled) = (0, false);
        while steps < max_steps && !settled {
            steps += 1;
            let (_, mut gradient, rounding) = self.pull(loss, preferences)?;
            for (k, slope) in gradient.iter_mut().enumerate() {
                let turned = *slope * last[k];
                if slope.abs() <= rounding || turned < 0.0 {
                    *slope = 0.0;
                }
                strides[k] *= if turned > 0.0 {
                    1.2
                } else if turned < 0.0 {
                    0.5
                } else {
                    1.0
                };
                strides[k] = if strides[k] > STRIDE {
                    STRIDE
                } else {
                    strides[k]
                };
                if *slope != 0.0 {
                    self.logits[k] -= strides[k] * slope.signum();
                }
            }
            let rests = gradient.iter().chain(&last).all(|slope| *slope == 0.0);
            settled = rests || strides.iter().all(|stride| *stride < 1e-15) || self.gap() > FAR;
            last = gradient;
        }
        Ok(Descent {
            probabilities: self.probabilities(),
            steps,
            settled,
        })
    }

    fn gap(&self) -> f64 {
        let high = self
            .logits
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, super::larger);
        let low = self
            .logits
            .iter()
            .map(|x| -x)
            .fold(f64::NEG_INFINITY, super::larger);
        high + low
    }

    /// (the evaluation, gradient by the logits, what of it is rounding).
    fn pull(
        &self,
        loss: &Loss,
        preferences: &[Preference],
    ) -> Result<(Evaluation, Vec<f64>, f64), Error> {
        of_policies(loss)?;
        let outputs = self.logits.len();
        for (at, preference) in preferences.iter().enumerate() {
            let Preference {
                chosen,
                rejected,
                share,
            } = *preference;
            if chosen >= outputs
                || rejected >= outputs
                || chosen == rejected
                || !(share >= 0.0 && share.is_finite())
            {
                let message = format!(
                    "preferences[{at}]: {chosen} over {rejected} with share {share}; two of {outputs} outputs and a share of at least 0"
                );
                return Err(Error::data("preferences", message));
            }
        }
        let (logps, z0) = (self.logps(), self.reference_point(loss));
        let paired = loss.data_shape() == DataShape::Paired;
        let row = |output: usize, label, share| Row {
            ref_logp: self.ref_logps[output],
            // the two halves of a preference are two rows of the whole, or one pair
            weight: if paired { share } else { 0.5 * share },
            z0,
            ..row(logps[output], label)
        };
        let both = |p: &Preference| {
            [
                row(p.chosen, Label::Desirable, p.share),
                row(p.rejected, Label::Undesirable, p.share),
            ]
        };
        let rows: Vec<Row> = preferences.iter().flat_map(both).collect();
        let one = Normalizer {
            units: 1.0,
            tokens: 1.0,
            desirable_tokens: 1.0,
        };
        let result = evaluate(loss, &rows, &one)?;
        // d ln π_i / d logit_k = [i = k] − π_k
        let total: f64 = result.dlogps.iter().sum();
        let mut gradient: Vec<f64> = logps.iter().map(|logp| -libm::exp(*logp) * total).collect();
        let seen = preferences.iter().flat_map(|p| [p.chosen, p.rejected]);
        for (output, slope) in seen.zip(&result.dlogps) {
            gradient[output] += slope;
        }
        let size: f64 = result.dlogps.iter().map(|slope| slope.abs()).sum();
        Ok((result, gradient, ROUNDING * size))
    }

    fn reference_point(&self, loss: &Loss) -> f64 {
        let measures = loss
            .reference_point()
            .filter(|e| e.source() != Source::None);
        if measures.is_some() {
            self.divergence()
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use std::string::ToString;

    #[test]
    fn the_gradient_is_a_finite_difference() {
        let loss = Loss::new("dpo", &Params::new())
            .unwrap()
            .with("beta", 0.7)
            .unwrap();
        let sides = [(0, 1, 0.5), (2, 0, 0.3), (1, 0, 0.2)];
        let preferences = sides.map(|(chosen, rejected, share)| Preference {
            chosen,
            rejected,
            share,
        });
        let at = |logits: [f64; 3]| {
            let table = Tabular::new(&[0.2, 0.5, 0.3]).unwrap().at(&logits).unwrap();
            table.expected(&loss, &preferences).unwrap()
        };
        let (_, gradient) = at([0.3, -0.2, 0.9]);
        for k in 0..3 {
            let (mut up, mut down) = ([0.3, -0.2, 0.9], [0.3, -0.2, 0.9]);
            (up[k], down[k]) = (up[k] + 1e-5, down[k] - 1e-5);
            let difference = (at(up).0 - at(down).0) / 2e-5;
            assert!((difference - gradient[k]).abs() < 1e-9);
        }
    }

    #[test]
    fn at_the_reference_the_divergence_is_0() {
        let table = Tabular::new(&[0.25, 0.75]).unwrap();
        assert!(table.divergence().abs() < 1e-15);
        let away = table.at(&[0.0, 0.0]).unwrap();
        let expected = 0.5 * libm::log(0.5 / 0.25) + 0.5 * libm::log(0.5 / 0.75);
        assert!((away.divergence() - expected).abs() < 1e-15);
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        let says = |reference: &[f64]| Tabular::new(reference).unwrap_err().to_string();
        assert_eq!(says(&[1.0]), "reference has 1 outputs: two are the least");
        assert_eq!(says(&[1.0, 0.0]), "reference[1] = 0 is not positive");
        assert_eq!(says(&[0.5, 0.75]), "reference sums to 1.25, not to 1");
    }
}
