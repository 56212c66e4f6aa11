//! What every loss of the registry promises of its gradients, and of the weight and beta that an example brings.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no result of the library"
)]

#[path = "support/plans.rs"]
mod plans;
#[path = "support/strategies.rs"]
mod strategies;

use halo_loss::{Evaluation, Loss, Normalizer, ParamValue, Params, registry};
use plans::{
    Data, POLICY, every_configuration, mismatched, prepared, stops_gradients, token_slopes,
};
use proptest::prelude::*;
use strategies::{any_data, any_loss, runner};

#[test]
fn gradients_are_finite_differences() {
    for spec in registry() {
        let cases = (any_loss(spec), any_data());
        let tested = runner(192).run(&cases, |(loss, data)| {
            if stops_gradients(&loss) {
                return Ok(());
            }
            let normalizer = Normalizer::of(&loss, &data.rows);
            let result = data.evaluate_as(&loss, &normalizer).unwrap();
            let slopes = token_slopes(&loss, &data, &result);
            for row in 0..data.rows.len() {
                let span = data.span(row);
                // a row loss has one slope a row
                let tokens = match loss.per_token() {
                    true => span.len(),
                    false => 1,
                };
                let (unit, row) = unit_of(&loss, &data, row);
                for token in 0..tokens {
                    let value = |h: f64| {
                        let mut unit = unit.clone();
                        unit.add(POLICY, row, token, h);
                        unit.evaluate_as(&loss, &normalizer).unwrap().loss
                    };
                    let slope = slopes[span.start + token];
                    prop_assert!(
                        is_slope(slope, value),
                        "{loss}, row {row}, token {token} of {data:?}: {slope}"
                    );
                }
            }
            Ok(())
        });
        tested.unwrap_or_else(|e| panic!("{}: {e}", spec.name));
    }
}

/// Who says that a part is not differentiated is not held to differences: its gradient must then not be one.
#[test]
fn gradients_are_stopped_where_the_formula_says_so() {
    every_configuration(|loss| {
        if !stops_gradients(loss) {
            return;
        }
        let (_, here) = prepared(loss, &plans::data(), &mismatched());
        let result = here.evaluate(loss).unwrap();
        let slopes = token_slopes(loss, &here, &result);
        let differs = (0..here.rows.len()).any(|row| {
            here.span(row).enumerate().any(|(token, at)| {
                !is_slope(slopes[at], |h| {
                    let mut moved = here.clone();
                    moved.add(POLICY, row, token, h);
                    moved.evaluate(loss).unwrap().loss
                })
            })
        });
        assert!(differs, "{loss}: its gradient is its value's derivative");
    });
}

/// The unit alone: the sum over the others would cost digits. Coupled units are not alone.
fn unit_of(loss: &Loss, data: &Data, row: usize) -> (Data, usize) {
    if loss.couples() {
        return (data.clone(), row);
    }
    let size = loss.rows_per_unit();
    let first = row / size * size;
    (data.part(first..first + size), row - first)
}

fn is_slope(slope: f64, value: impl Fn(f64) -> f64) -> bool {
    let here = value(0.0);
    [1e-3, 1e-4, 1e-5, 1e-6, 1e-7].iter().any(|&h| {
        let (left, right) = ((here - value(-h)) / h, (value(h) - here) / h);
        let tolerance = 1e-6 * slope.abs() + 1e-7 * here.abs() + 1e-9;
        // at a kink (a clip, the chord of the power curve) the slope of either side is right
        let between = left.min(right) - tolerance <= slope && slope <= left.max(right) + tolerance;
        ((left + right) / 2.0 - slope).abs() <= tolerance
            || (between && (left - right).abs() > tolerance)
    })
}

/// Tokens of a row that the loss treats alike have the row's slope: their sum moves as one.
#[test]
fn the_sum_over_tokens_is_what_the_formula_reads() {
    every_configuration(|loss| {
        if loss.per_token() {
            return;
        }
        let (_, here) = prepared(loss, &plans::data(), &mismatched());
        let mut other = here.clone();
        for row in 0..here.rows.len() {
            let span = other.span(row);
            other.columns.logps.swap(span.start, span.end - 1);
        }
        assert_eq!(
            here.evaluate(loss).unwrap(),
            other.evaluate(loss).unwrap(),
            "{loss}"
        );
    });
}

#[test]
fn an_examples_beta_is_the_losss_times_its_scale() {
    every_configuration(|loss| {
        let Some(ParamValue::Number(beta)) = loss.param("beta") else {
            return;
        };
        let (_, here) = prepared(loss, &plans::data(), &mismatched());
        for scale in [0.5, 3.0] {
            let expected = loss.with("beta", scale * beta).unwrap();
            let expected = here.evaluate(&expected).unwrap();
            let size = loss.rows_per_unit();
            let scaled = here.with(|index, row| {
                // a pair's is the chosen row's: the other says something else, and is not asked
                row.beta_scale = if index % size == 0 { scale } else { 7.0 };
            });
            let ours = scaled.evaluate(loss).unwrap();
            assert_near(loss, &ours, &expected);
            for (ours, expected) in ours.rewards.iter().zip(&expected.rewards) {
                assert!(near(*ours, *expected), "{loss}: reward {ours}, {expected}");
            }
        }
    });
}

/// A loss without a beta has none to scale.
#[test]
fn without_a_beta_its_scale_is_not_read() {
    every_configuration(|loss| {
        let has = |name: &str| loss.param(name).is_some();
        if has("beta") || has("tau") {
            return;
        }
        let (_, here) = prepared(loss, &plans::data(), &mismatched());
        let scaled = here.with(|_, row| row.beta_scale = 3.0);
        let (ours, expected) = (scaled.evaluate(loss).unwrap(), here.evaluate(loss).unwrap());
        assert_eq!(ours.values, expected.values, "{loss}");
        assert_eq!(ours.dlogps, expected.dlogps, "{loss}");
        assert_eq!(ours.token_dlogps, expected.token_dlogps, "{loss}");
    });
}

#[test]
fn a_weight_multiplies_value_and_gradient() {
    every_configuration(|loss| {
        let (_, here) = prepared(loss, &plans::data(), &mismatched());
        let size = loss.rows_per_unit();
        let weight = |unit: usize| [0.0, 0.5, 1.0, 4.0][unit % 4];
        let weighted = here.with(|index, row| {
            // a pair's is the chosen row's
            row.weight = if index % size == 0 {
                weight(index / size)
            } else {
                7.0
            };
        });
        let (ours, plain) = (
            weighted.evaluate(loss).unwrap(),
            here.evaluate(loss).unwrap(),
        );
        let unit_of = |row: usize| match loss.couples() && size == 2 && row % 2 == 1 {
            // the unit that the row is in: which chosen row has its rank is the loss's to say
            true => None,
            false => Some(row / size),
        };
        for (unit, (ours, plain)) in ours.values.iter().zip(&plain.values).enumerate() {
            assert!(near(*ours, weight(unit) * plain), "{loss}: unit {unit}");
        }
        let (ours, plain) = (
            token_slopes(loss, &here, &ours),
            token_slopes(loss, &here, &plain),
        );
        for row in 0..here.rows.len() {
            let Some(unit) = unit_of(row) else { continue };
            for token in here.span(row) {
                let expected = weight(unit) * plain[token];
                assert!(
                    near(ours[token], expected),
                    "{loss}: row {row}: {}",
                    ours[token]
                );
            }
        }
    });
}

#[test]
fn rewards_zones_and_counts_do_not_depend_on_weights() {
    every_configuration(|loss| {
        let (_, here) = prepared(loss, &plans::data(), &mismatched());
        let heavy = here.with(|_, row| row.weight = 3.0);
        let (ours, plain) = (heavy.evaluate(loss).unwrap(), here.evaluate(loss).unwrap());
        let told =
            |result: &Evaluation| (result.rewards.clone(), result.zones.clone(), result.clipped);
        assert_eq!(told(&ours), told(&plain), "{loss}");
    });
}

/// The normaliser divides, and does nothing else.
#[test]
fn a_larger_step_divides_by_more() {
    every_configuration(|loss| {
        let (_, here) = prepared(loss, &plans::data(), &mismatched());
        let of = Normalizer::of(loss, &here.rows);
        let twice = Normalizer {
            units: 2.0 * of.units,
            tokens: 2.0 * of.tokens,
            desirable_tokens: 2.0 * of.desirable_tokens,
        };
        let (whole, half) = (
            here.evaluate(loss).unwrap(),
            here.evaluate_as(loss, &twice).unwrap(),
        );
        assert_eq!(half.loss, whole.loss / 2.0, "{loss}");
        assert_eq!(half.values, whole.values, "{loss}");
        let halves = |slopes: &[f64]| slopes.iter().map(|slope| slope / 2.0).collect::<Vec<_>>();
        assert_eq!(half.dlogps, halves(&whole.dlogps), "{loss}");
        assert_eq!(half.token_dlogps, halves(&whole.token_dlogps), "{loss}");
    });
}

/// Rewards are β·r unless the loss says otherwise, whatever the divergence.
#[test]
fn rewards_do_not_depend_on_the_divergence() {
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).unwrap();
        if loss.param("f_divergence").is_none() {
            continue;
        }
        let rewards = |loss: &Loss| plans::data().evaluate(loss).unwrap().rewards;
        for word in ["forward_kl", "js", "alpha"] {
            let other = loss.with("f_divergence", word).unwrap();
            assert_eq!(rewards(&other), rewards(&loss), "{other}");
        }
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs() + 1e-300
}

fn assert_near(loss: &Loss, ours: &Evaluation, expected: &Evaluation) {
    for (what, ours, expected) in [
        ("values", &ours.values, &expected.values),
        ("dlogps", &ours.dlogps, &expected.dlogps),
        ("token_dlogps", &ours.token_dlogps, &expected.token_dlogps),
    ] {
        assert_eq!(ours.len(), expected.len(), "{loss}: {what}");
        for (ours, expected) in ours.iter().zip(expected) {
            assert!(near(*ours, *expected), "{loss}: {what}: {ours}, {expected}");
        }
    }
}
