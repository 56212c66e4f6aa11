//! Preferences that contradict each other (arXiv 2402.01306, theorem 4.3), and preferences that go in circles.
//!
//! Two outputs a and b; a share p > ½ of the judgements prefers a. DPO fits the odds p : 1 − p on top of the reference, and may
//! leave the minority's answer ahead. KTO with equal weights goes to the majority's. The condition for the direction in which KTO
//! leaves the reference with unequal weights is this project's, not the paper's.

use alloc::format;
use alloc::vec::Vec;

use super::tabular::{Preference, Tabular};
use crate::dual::sigmoid;
use crate::error::Error;
use crate::weighting::Weights;

/// Two outputs, about which judgements disagree.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Contradictory {
    /// p: the share of judgements that prefer a.
    pub majority: f64,
    /// π_ref(a).
    pub reference: f64,
}

/// Where a loss leaves the reference to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Drift {
    /// To the output a.
    Majority,
    /// To the output b.
    Minority,
    /// Nowhere: the pushes cancel.
    None,
}

impl Contradictory {
    /// A share p and a probability π_ref(a).
    ///
    /// # Errors
    /// One that is not between 0 and 1, both excluded.
    pub fn new(majority: f64, reference: f64) -> Result<Contradictory, Error> {
        for (name, x) in [("majority", majority), ("reference", reference)] {
            if !(x > 0.0 && x < 1.0) {
                return Err(Error::parameter(
                    name,
                    format!("{name} = {x} is not between 0 and 1"),
                ));
            }
        }
        Ok(Contradictory {
            majority,
            reference,
        })
    }

    /// The policy that is the reference: output 0 is a, output 1 is b.
    ///
    /// # Errors
    /// A probability so near 0 or 1 that the other is none.
    pub fn policy(&self) -> Result<Tabular, Error> {
        Tabular::new(&[self.reference, 1.0 - self.reference])
    }

    /// The judgements.
    pub fn preferences(&self) -> [Preference; 2] {
        let (chosen, rejected, share) = (0, 1, self.majority);
        [
            Preference {
                chosen,
                rejected,
                share,
            },
            Preference {
                chosen: 1,
                rejected: 0,
                share: 1.0 - share,
            },
        ]
    }

    /// ln of the odds a : b that DPO's expected loss is least at: π*(a) / π*(b) = π_ref(a) / π_ref(b) · (p/(1−p))^(1/β).
    pub fn margin_optimum_logit(&self, beta: f64) -> f64 {
        logit(self.reference) + logit(self.majority) / beta
    }

    /// π*(a) there.
    pub fn margin_optimum(&self, beta: f64) -> f64 {
        sigmoid(self.margin_optimum_logit(beta))
    }

    /// Whether DPO's optimum prefers the minority's answer: p^(1/β)·π_ref(a) < (1−p)^(1/β)·π_ref(b), for p > ½.
    pub fn margin_prefers_minority(&self, beta: f64) -> bool {
        self.majority > 0.5 && self.margin_optimum_logit(beta) < 0.0
    }

    /// Where KTO leaves the reference to. At π_ref all rewards and z₀ are 0 and all slopes equal, so that the push on the logit
    /// of a is positive iff λ_D·(p − π_ref(a)) > λ_U·(1 − p − π_ref(a)). That is the direction of the first step, not the end:
    /// with unequal weights and p near ½ the push can vanish on the way, and the policy rests between the two answers.
    pub fn drift(&self, weights: Weights) -> Drift {
        let (p, q) = (self.majority, self.reference);
        let push = weights.desirable * (p - q) - weights.undesirable * (1.0 - p - q);
        match push {
            push if push > 0.0 => Drift::Majority,
            push if push < 0.0 => Drift::Minority,
            _ => Drift::None,
        }
    }

    /// λ* = (p − π_ref(a)) / (1 − p − π_ref(a)) for p > π_ref(a): with λ_D = 1 KTO turns away from the majority where λ_U is
    /// above. `None` where no weight makes it turn, 1 − p ≤ π_ref(a), and where p ≤ π_ref(a), which it does not speak of.
    pub fn turning_weight(&self) -> Option<f64> {
        let (p, q) = (self.majority, self.reference);
        (p > q && 1.0 - p > q).then(|| (p - q) / (1.0 - p - q))
    }
}

/// An equal cycle 0 ≻ 1 ≻ … ≻ 0 of so many outputs: DPO stays at the reference, KTO with equal weights has no push anywhere.
pub fn cycle(outputs: usize) -> Vec<Preference> {
    let share = 1.0 / outputs as f64;
    let edge = |chosen| Preference {
        chosen,
        rejected: (chosen + 1) % outputs,
        share,
    };
    (0..outputs).map(edge).collect()
}

fn logit(p: f64) -> f64 {
    libm::log(p) - libm::log1p(-p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Loss;
    use crate::params::Params;

    fn loss(name: &str) -> Loss {
        Loss::new(name, &Params::new()).unwrap()
    }

    #[test]
    fn descent_finds_the_closed_form() {
        for (p, beta, q) in [(0.6, 1.0, 0.35), (0.6, 0.1, 0.01), (0.9, 0.5, 0.7)] {
            let setting = Contradictory::new(p, q).unwrap();
            let loss = loss("dpo").with("beta", beta).unwrap();
            let end = setting
                .policy()
                .unwrap()
                .descend(&loss, &setting.preferences(), 50_000)
                .unwrap();
            assert!(end.settled, "{end:?}");
            assert!(
                (end.probabilities[0] - setting.margin_optimum(beta)).abs() < 1e-9,
                "{end:?}"
            );
        }
    }

    #[test]
    fn the_push_at_the_reference_is_the_drifts() {
        for (p, q) in [
            (0.6, 0.01),
            (0.6, 0.2),
            (0.7, 0.5),
            (0.8, 0.9),
            (0.55, 0.44),
        ] {
            for undesirable in [0.5, 1.0, 1.6, 4.0, 20.0] {
                let setting = Contradictory::new(p, q).unwrap();
                let weights = Weights {
                    desirable: 1.0,
                    undesirable,
                };
                let kto = loss("kto").with_weights(weights).unwrap();
                let (_, slope) = setting
                    .policy()
                    .unwrap()
                    .expected(&kto, &setting.preferences())
                    .unwrap();
                // half the mass is a's, the slope is β/4: the gradient is −β/8 times the push
                let push = (p - q) - undesirable * (1.0 - p - q);
                assert!((slope[0] + 0.1 / 8.0 * push).abs() < 1e-15);
                let drift = setting.drift(weights);
                assert_eq!(
                    drift == Drift::Majority,
                    slope[0] < 0.0,
                    "{setting:?} {undesirable}"
                );
                if let Some(turning) = setting.turning_weight() {
                    assert_eq!(drift == Drift::Majority, undesirable < turning);
                }
            }
        }
    }

    #[test]
    fn an_early_drift_may_rest_half_way() {
        // 7 % below λ*; the root of the push, by mpmath to 40 digits from the formula alone
        let setting = Contradictory::new(0.5024125207026736, 0.24580108175969964).unwrap();
        let weights = Weights {
            desirable: 1.0,
            undesirable: 0.93 * setting.turning_weight().unwrap(),
        };
        assert_eq!(setting.drift(weights), Drift::Majority);
        let kto = loss("kto").with_weights(weights).unwrap();
        let mut policy = setting.policy().unwrap();
        let end = policy.descend(&kto, &setting.preferences(), 50_000);
        let end = end.unwrap();
        assert!(end.settled, "{end:?}");
        assert!((end.probabilities[0] - 0.590300994817).abs() < 1e-9);
    }

    #[test]
    fn an_even_split_moves_no_kto() {
        let setting = Contradictory::new(0.5, 0.3).unwrap();
        let (value, slope) = setting
            .policy()
            .unwrap()
            .expected(&loss("kto"), &setting.preferences())
            .unwrap();
        assert_eq!(value, 0.5);
        assert!(slope.iter().all(|slope| slope.abs() < 1e-17));
        assert_eq!(setting.drift(Weights::default()), Drift::None);
    }

    #[test]
    fn an_equal_cycle_moves_neither() {
        let reference = [0.2, 0.5, 0.3];
        let preferences = cycle(3);
        let mut table = Tabular::new(&reference)
            .unwrap()
            .at(&[1.0, -1.0, 0.5])
            .unwrap();
        let end = table.descend(&loss("dpo"), &preferences, 50_000).unwrap();
        assert!(end.settled);
        for (ours, theirs) in end.probabilities.iter().zip(reference) {
            assert!((ours - theirs).abs() < 1e-9, "dpo comes back: {end:?}");
        }
        for logits in [[0.0, 0.0, 0.0], [3.0, -2.0, 0.5], [-30.0, 0.0, 9.0]] {
            let away = Tabular::new(&reference).unwrap().at(&logits).unwrap();
            let (value, slope) = away.expected(&loss("kto"), &preferences).unwrap();
            assert!((value - 0.5).abs() < 1e-15);
            assert!(slope.iter().all(|slope| slope.abs() < 1e-17), "{slope:?}");
        }
    }
}
