//! Value functions v(u): how a gain or loss u against the reference point is felt.

use crate::dual::{Dual, log_sigmoid, sigmoid};
use crate::error::Error;
use crate::params::Params;

/// The words for them.
pub const NAMES: &[&str] = &[
    "logistic",
    "log_sigmoid",
    "identity",
    "kahneman_tversky",
    "hinge",
];

/// Below this |u| the power curve, whose slope is infinite at 0, is replaced by its chord.
pub const CHORD: f64 = 1e-3;

/// A value function. Increasing, and 0 or its midpoint at u = 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// σ(u): concave in gains, convex in losses; KTO's own.
    Logistic,
    /// ln σ(u): concave everywhere.
    LogSigmoid,
    /// u: risk-neutral, unbounded.
    Identity,
    /// min(u, 1): risk-neutral up to a gain that is enough. Ours.
    Hinge,
    /// uᵅ for gains, −κ(−u)ᵅ for losses (Tversky and Kahneman 1992: α .88, κ 2.25).
    KahnemanTversky {
        /// α in (0, 1].
        alpha: f64,
        /// κ ≥ 0.
        loss_aversion: f64,
    },
}

impl Value {
    pub(crate) fn new(params: &Params) -> Result<Value, Error> {
        let (alpha, loss_aversion) = (
            params.number("value_alpha")?,
            params.number("value_loss_aversion")?,
        );
        Value::named(params.text("value")?, alpha, loss_aversion)
    }

    /// The value function of that name; α and κ are read by kahneman_tversky alone.
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub fn named(name: &str, alpha: f64, loss_aversion: f64) -> Result<Value, Error> {
        Ok(match name {
            "logistic" => Value::Logistic,
            "log_sigmoid" => Value::LogSigmoid,
            "identity" => Value::Identity,
            "hinge" => Value::Hinge,
            "kahneman_tversky" => Value::KahnemanTversky {
                alpha,
                loss_aversion,
            },
            _ => return Err(Error::unknown("value function", name, NAMES)),
        })
    }

    /// c − v(u), what a loss pays: c is the supremum of v where that is 0 or 1, and 1 otherwise.
    pub fn shortfall<const N: usize>(self, u: Dual<N>) -> Dual<N> {
        match self {
            // 1 - σ(u) without the cancellation
            Value::Logistic => (-u).sigmoid(),
            Value::LogSigmoid => -u.log_sigmoid(),
            Value::Identity | Value::Hinge | Value::KahnemanTversky { .. } => {
                let (value, slope) = self.at(u.value);
                1.0 - u.chain(value, slope)
            }
        }
    }

    /// (v(u), v′(u)).
    pub fn at(self, u: f64) -> (f64, f64) {
        match self {
            Value::Logistic => (sigmoid(u), sigmoid(u) * sigmoid(-u)),
            Value::LogSigmoid => (log_sigmoid(u), sigmoid(-u)),
            Value::Identity => (u, 1.0),
            Value::Hinge if u < 1.0 => (u, 1.0),
            Value::Hinge => (1.0, 0.0),
            Value::KahnemanTversky {
                alpha,
                loss_aversion,
            } => {
                let (side, size) = if u < 0.0 {
                    (loss_aversion, -u)
                } else {
                    (1.0, u)
                };
                let (value, slope) = power(size, alpha);
                (if u < 0.0 { -side * value } else { value }, side * slope)
            }
        }
    }

    /// Whether u lies where the chord stands in for the curve.
    pub fn clips(self, u: f64) -> bool {
        matches!(self, Value::KahnemanTversky { .. }) && u.abs() < CHORD
    }

    /// The largest slope anywhere.
    pub fn max_slope(self) -> f64 {
        match self {
            Value::Logistic => 0.25,
            Value::LogSigmoid | Value::Identity | Value::Hinge => 1.0,
            Value::KahnemanTversky {
                alpha,
                loss_aversion,
            } => {
                let steeper = if loss_aversion > 1.0 {
                    loss_aversion
                } else {
                    1.0
                };
                steeper * libm::pow(CHORD, alpha - 1.0)
            }
        }
    }

    /// (learnt above, given up below): the u beyond which the slope is under `tolerance` of the steepest on
    /// that side; `None` where it never is.
    pub fn bounds(self, tolerance: f64) -> (Option<f64>, Option<f64>) {
        match self {
            Value::Logistic => {
                // 4σ(u)σ(-u) = 1/cosh²(u/2)
                let u = 2.0 * libm::acosh(1.0 / libm::sqrt(tolerance));
                (Some(u), Some(-u))
            }
            Value::LogSigmoid => (Some(libm::log((1.0 - tolerance) / tolerance)), None),
            Value::Identity => (None, None),
            Value::Hinge => (Some(1.0), None),
            Value::KahnemanTversky {
                alpha,
                loss_aversion,
            } => {
                // α u^(α-1) = tol · h^(α-1), u ≥ h; the steepest is the chord's slope
                let beyond = CHORD * libm::pow(tolerance / alpha, 1.0 / (alpha - 1.0));
                let u = if beyond > CHORD { beyond } else { CHORD };
                let u = (alpha < 1.0 && u.is_finite()).then_some(u);
                (
                    u,
                    if loss_aversion == 0.0 {
                        Some(0.0)
                    } else {
                        u.map(|u| -u)
                    },
                )
            }
        }
    }

    /// The bounds as a formula of β and the tolerance ε, on the axis of a loss that multiplies with β; empty where there are none.
    pub fn bound_formula(self) -> &'static str {
        match self {
            Value::Logistic => "±2/β · arcosh(1/√ε)",
            Value::LogSigmoid => "ln((1 − ε)/ε) / β",
            Value::Identity => "",
            Value::Hinge => "1/β",
            Value::KahnemanTversky { .. } => "±h · (ε/α)^(1/(α − 1)) / β, h = 0.001",
        }
    }
}

/// (xᵅ, slope) for x ≥ 0, with the chord from the origin below [`CHORD`].
///
/// A chord on each side, not one across 0, keeps v(0) = 0 and the kink that loss aversion is.
fn power(x: f64, alpha: f64) -> (f64, f64) {
    if x < CHORD {
        let slope = libm::pow(CHORD, alpha - 1.0);
        (slope * x, slope)
    } else {
        (libm::pow(x, alpha), alpha * libm::pow(x, alpha - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POWER: Value = Value::KahnemanTversky {
        alpha: 0.88,
        loss_aversion: 2.25,
    };
    const ALL: [Value; 5] = [
        Value::Logistic,
        Value::LogSigmoid,
        Value::Identity,
        Value::Hinge,
        POWER,
    ];

    #[test]
    fn power_values_are_the_handbooks() {
        assert!((POWER.at(10.0).0 - 7.58577575).abs() < 5e-9);
        assert!((POWER.at(-10.0).0 + 17.0679954).abs() < 5e-8);
    }

    #[test]
    fn shortfall_is_what_is_missing_to_the_supremum() {
        for value in ALL {
            let c = if value == Value::LogSigmoid { 0.0 } else { 1.0 };
            for u in [-30.0, -2.0, -1e-3, -1e-4, 0.0, 1e-4, 1e-3, 2.0, 30.0] {
                let (v, slope) = value.at(u);
                let shortfall = value.shortfall(Dual::<1>::variable(u, 0));
                // logistic rounds 1 - v here, not there
                assert!(
                    (shortfall.value - (c - v)).abs() <= 2.3e-16 * (1.0 + v.abs()),
                    "{value:?} at {u}"
                );
                assert_eq!(shortfall.gradient[0], -slope, "{value:?} at {u}");
            }
        }
    }

    #[test]
    fn a_value_function_never_decreases() {
        for value in ALL {
            let mut last = f64::NEG_INFINITY;
            for step in -4000..=4000 {
                let v = value.at(f64::from(step) * 2.5e-4).0;
                assert!(v > last, "{value:?} at {step}");
                last = v;
            }
        }
    }

    #[test]
    fn the_chord_meets_the_curve_and_0() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-15;
        for side in [1.0, -1.0] {
            let (inside, outside) = (
                POWER.at(side * CHORD * (1.0 - 1e-12)),
                POWER.at(side * CHORD),
            );
            assert!(
                near(inside.0, outside.0) || (inside.0 - outside.0).abs() < 1e-11 * outside.0.abs()
            );
            assert!(POWER.at(side * 1e-300).0.abs() < 1e-298);
        }
        assert_eq!(POWER.at(0.0).0, 0.0);
        assert!(
            POWER.clips(0.0) && POWER.clips(-9.9e-4) && !POWER.clips(CHORD) && !POWER.clips(-CHORD)
        );
        assert!(!Value::Logistic.clips(0.0));
    }

    #[test]
    fn bounds_are_where_the_slope_is_the_tolerance() {
        for value in ALL {
            for tolerance in [0.01, 0.05, 0.1, 0.4] {
                let (learnt, given_up) = value.bounds(tolerance);
                for (bound, side) in [(learnt, 1.0), (given_up, -1.0)] {
                    let Some(bound) = bound else { continue };
                    if value == Value::Hinge {
                        assert_eq!((value.at(bound).1, value.at(bound - 1e-9).1), (0.0, 1.0));
                        continue;
                    }
                    let steepest = match value {
                        Value::KahnemanTversky { .. } => value.at(side * CHORD / 2.0).1,
                        _ => value.max_slope(),
                    };
                    assert!(bound * side > 0.0);
                    let ratio = value.at(bound).1 / steepest;
                    assert!(
                        (ratio / tolerance - 1.0).abs() < 1e-9,
                        "{value:?}: {ratio} at the bound of {tolerance}"
                    );
                }
            }
        }
        assert_eq!(
            Value::LogSigmoid.bounds(0.01).1,
            None,
            "the concave value gives nothing up"
        );
        assert_eq!(Value::Identity.bounds(0.01), (None, None));
    }

    #[test]
    fn a_flat_side_is_given_up_at_once() {
        let flat = Value::KahnemanTversky {
            alpha: 0.88,
            loss_aversion: 0.0,
        };
        assert_eq!(flat.bounds(0.01).1, Some(0.0));
        let linear = Value::KahnemanTversky {
            alpha: 1.0,
            loss_aversion: 2.25,
        };
        assert_eq!(linear.bounds(0.01), (None, None));
    }

    #[test]
    fn no_slope_exceeds_the_largest() {
        for value in ALL {
            for step in -500..=500 {
                assert!(
                    value.at(f64::from(step) * 1e-4).1 <= value.max_slope() * (1.0 + 1e-15),
                    "{value:?}"
                );
            }
        }
    }
}
