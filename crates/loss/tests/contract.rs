//! What every loss of the registry promises. A new loss is tested here without a line from its author.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no result of the library"
)]

#[path = "support/plans.rs"]
mod plans;

use halo_loss::{
    DataShape, Label, Loss, Need, Normalizer, ParamKind, ParamValue, Point, Row, evaluate,
    registry, saturation,
};
use plans::{configurations, mismatched, number_in, rows, step};
use proptest::prelude::*;

#[test]
fn a_loss_depends_on_the_reference_exactly_if_it_needs_it() {
    every_configuration(|loss| {
        let before = step(loss, &rows(), &mismatched());
        let shift = |mut rows: Vec<Row>| {
            rows.iter_mut()
                .enumerate()
                .for_each(|(i, row)| row.ref_logp -= 0.5 + i as f64 / 8.0);
            rows
        };
        let after = step(loss, &shift(rows()), &shift(mismatched()));
        assert_eq!(before != after, loss.needs(Need::Reference), "{loss}");
        if !loss.needs(Need::Reference) {
            let absent = |mut rows: Vec<Row>| {
                rows.iter_mut().for_each(|row| row.ref_logp = f64::NAN);
                rows
            };
            assert_eq!(
                before,
                step(loss, &absent(rows()), &absent(mismatched())),
                "{loss}"
            );
        }
    });
}

#[test]
fn a_loss_depends_on_lengths_exactly_if_it_needs_them() {
    every_configuration(|loss| {
        let longer = |mut rows: Vec<Row>| {
            rows.iter_mut().for_each(|row| row.tokens += 5);
            rows
        };
        let before = step(loss, &rows(), &mismatched());
        let after = step(loss, &longer(rows()), &longer(mismatched()));
        assert_eq!(before != after, loss.needs(Need::Lengths), "{loss}");
    });
}

#[test]
fn a_loss_depends_on_mismatched_rows_or_its_own_exactly_if_it_needs_a_reference_point() {
    every_configuration(|loss| {
        let other = |value| Point {
            raw: value,
            value,
            clamped: false,
        };
        let at = |point| evaluate(loss, &rows(), &point, &Normalizer::of(loss, &rows())).unwrap();
        let estimated = loss.needs(Need::ReferencePoint);
        assert_eq!(
            loss.reference_point()
                .is_some_and(|e| e.source() != halo_loss::Source::None),
            estimated,
            "{loss}"
        );
        if estimated {
            assert_ne!(at(other(0.25)), at(other(1.5)), "{loss}");
        } else {
            let (point, _) = step(loss, &rows(), &mismatched());
            assert_eq!(point, Point::default(), "{loss}");
        }
    });
}

#[test]
fn labels_are_read_unless_the_shape_is_any() {
    every_configuration(|loss| {
        let mut turned = rows();
        turned.iter_mut().for_each(|row| {
            row.label = if row.label == Label::Desirable {
                Label::Undesirable
            } else {
                Label::Desirable
            };
        });
        let normalizer = Normalizer::of(loss, &rows());
        let before = evaluate(loss, &rows(), &Point::default(), &normalizer).unwrap();
        match (
            loss.data_shape(),
            evaluate(loss, &turned, &Point::default(), &normalizer),
        ) {
            (DataShape::Any, after) => assert_eq!(after.unwrap(), before, "{loss}"),
            (DataShape::Paired, after) => assert_eq!(after.unwrap_err().row(), Some(0), "{loss}"),
            (_, after) => assert_ne!(after.unwrap().dlogps, before.dlogps, "{loss}"),
        }
    });
}

#[test]
fn every_parameter_has_an_effect() {
    for spec in registry() {
        for param in spec.params {
            let others: Vec<ParamValue> = match param.kind {
                ParamKind::Choice { choices, .. } => choices
                    .iter()
                    .map(|c| ParamValue::Text(c.to_string()))
                    .collect(),
                ParamKind::Flag { default } => vec![ParamValue::Flag(!default)],
                kind => [0.4, 0.6]
                    .iter()
                    .filter_map(|u| number_in(kind, *u))
                    .map(ParamValue::Number)
                    .collect(),
            };
            for other in others {
                let felt = configurations(spec).iter().any(|loss| {
                    let changed = loss.with(param.name, other.clone());
                    changed.is_ok_and(|changed| {
                        step(&changed, &rows(), &mismatched()) != step(loss, &rows(), &mismatched())
                    })
                });
                assert!(
                    felt,
                    "{}: {} = {other} changes nothing",
                    spec.name, param.name
                );
            }
        }
    }
}

#[test]
fn micro_batches_add_up_to_the_big_batch() {
    every_configuration(|loss| {
        let (point, whole) = step(loss, &rows(), &mismatched());
        let normalizer = Normalizer::of(loss, &rows());
        let parts: Vec<_> = rows()
            .chunks(2)
            .map(|part| evaluate(loss, part, &point, &normalizer).unwrap())
            .collect();
        let dlogps: Vec<f64> = parts.iter().flat_map(|part| part.dlogps.clone()).collect();
        assert_eq!(dlogps, whole.dlogps, "{loss}: gradients, bit for bit");
        let sum: f64 = parts.iter().map(|part| part.loss).sum();
        let scale: f64 = parts.iter().map(|part| part.loss.abs()).sum();
        assert!(
            (sum - whole.loss).abs() <= 1e-15 * scale,
            "{loss}: sums in another order"
        );
    });
}

#[test]
fn no_rows_give_nothing() {
    every_configuration(|loss| {
        let none = evaluate(
            loss,
            &[],
            &Point::default(),
            &Normalizer {
                units: 0.0,
                tokens: 0.0,
            },
        )
        .unwrap();
        assert_eq!(none.loss, 0.0);
        assert!(none.dlogps.is_empty() && none.values.is_empty() && none.zones.is_empty());
    });
}

#[test]
fn zones_are_where_the_slope_says() {
    every_configuration(|loss| {
        let bounds = saturation::bounds(loss, 0.01).unwrap();
        let Some(steepest) = bounds.max_slope else {
            return;
        };
        for margin in (-400..=400).map(|i| f64::from(i) * 0.75 + 0.1) {
            let mut two = rows()[..2].to_vec();
            two[0].logp = if loss.needs(Need::Reference) {
                two[0].ref_logp + margin
            } else {
                margin
            };
            let units = 2.0 / loss.rows_per_unit() as f64;
            let result = evaluate(
                loss,
                &two,
                &Point::default(),
                &Normalizer { units, tokens: 1.0 },
            )
            .unwrap();
            let slope = result.dlogps[0].abs() * units;
            let slope = if loss.needs(Need::Lengths) {
                slope * f64::from(two[0].tokens)
            } else {
                slope
            };
            assert!(
                slope <= steepest * (1.0 + 1e-12),
                "{loss} at {margin}: slope {slope} above {steepest}"
            );
            // the power curve's sides have steepest slopes of their own: unit tests of value.rs
            if loss
                .params()
                .iter()
                .any(|(_, value)| *value == ParamValue::Text("kahneman_tversky".to_string()))
            {
                continue;
            }
            let active = result.zones[0] == halo_loss::Zone::Active;
            assert_eq!(
                active,
                slope >= 0.01 * steepest,
                "{loss} at {margin}: {slope} of {steepest}"
            );
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gradients_are_finite_differences(loss in any_loss(), rows in any_rows(), z0 in -3.0..8.0_f64) {
        let point = Point { raw: z0, value: z0, clamped: false };
        let normalizer = Normalizer::of(&loss, &rows);
        let at = |rows: &[Row]| evaluate(&loss, rows, &point, &normalizer).unwrap();
        let result = at(&rows);
        let size = loss.rows_per_unit();
        for i in 0..rows.len() {
            // the unit alone: the sum over the others would cost digits
            let first = i / size * size;
            let value = |h: f64| {
                let mut unit = rows[first..first + size].to_vec();
                unit[i - first].logp += h;
                at(&unit).loss
            };
            let slope = result.dlogps[i];
            let here = value(0.0);
            let agrees = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7].iter().any(|&h| {
                let (left, right) = ((here - value(-h)) / h, (value(h) - here) / h);
                let tolerance = 1e-6 * slope.abs() + 1e-7 * here.abs() + 1e-9;
                // at a kink (chord of the power curve) the slope of either side is right
                let between = left.min(right) - tolerance <= slope && slope <= left.max(right) + tolerance;
                ((left + right) / 2.0 - slope).abs() <= tolerance || (between && (left - right).abs() > tolerance)
            });
            prop_assert!(agrees, "{loss}, row {i} of {rows:?}: slope {slope}");
        }
    }

    #[test]
    fn everything_is_finite_at_margins_of_ten_thousand(loss in any_loss_at_all(), signs in any::<[bool; 4]>(), z0 in -1e4..1e4) {
        let row = |i: usize| {
            let margin = if signs[i] { 1e4 } else { -1e4 };
            let far = if signs[i + 2] { -2e4 } else { -1e4 - 1.0 };
            let label = if i == 0 { Label::Desirable } else { Label::Undesirable };
            Row { logp: far + margin, ref_logp: far, tokens: 3, label }
        };
        let rows = [row(0), row(1)];
        let point = Point { raw: z0, value: z0, clamped: false };
        let result = evaluate(&loss, &rows, &point, &Normalizer::of(&loss, &rows)).unwrap();
        let numbers = [&result.dlogps, &result.rewards, &result.values];
        prop_assert!(result.loss.is_finite() && numbers.into_iter().flatten().all(|x| x.is_finite()), "{loss}: {result:?}");
    }
}

/// Calls with every combination of words and flags of every loss.
fn every_configuration(check: impl Fn(&Loss)) {
    for spec in registry() {
        let losses = configurations(spec);
        assert!(!losses.is_empty());
        losses.iter().for_each(&check);
    }
}

/// Any configuration, numbers random within what people use.
fn any_loss() -> impl Strategy<Value = Loss> {
    loss_with(number_in)
}

/// Any configuration, numbers random in their whole range.
fn any_loss_at_all() -> impl Strategy<Value = Loss> {
    loss_with(|kind, unit| match kind {
        ParamKind::Number { range, .. } if range.low > 0.0 => {
            Some((range.low * (range.high / range.low).powf(unit)).clamp(range.low, range.high))
        }
        ParamKind::Number { range, .. } => Some(range.low + unit * (range.high - range.low)),
        _ => None,
    })
}

fn loss_with(number: fn(ParamKind, f64) -> Option<f64>) -> impl Strategy<Value = Loss> {
    let all: Vec<Loss> = registry()
        .iter()
        .flat_map(|spec| configurations(spec))
        .collect();
    (
        prop::sample::select(all),
        prop::collection::vec(0.0..=1.0_f64, 16),
    )
        .prop_map(move |(loss, units)| {
            let params = loss.spec().params.iter().zip(units);
            params.fold(loss.clone(), |loss, (param, unit)| {
                match number(param.kind, unit) {
                    Some(x) => loss.with(param.name, x).unwrap(),
                    None => loss,
                }
            })
        })
}

/// One to four pairs of rows; log-ratios of every size, also tiny ones.
fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (-120.0..-1.0_f64, -1.0..1.0_f64, 0..4_i32, 1..80_u32);
    prop::collection::vec((row.clone(), row), 1..4).prop_map(|pairs| {
        let row = |(ref_logp, unit, size, tokens): (f64, f64, i32, u32), label| Row {
            logp: ref_logp + unit * 10.0_f64.powi(size - 2),
            ref_logp,
            tokens,
            label,
        };
        pairs
            .into_iter()
            .flat_map(|(w, l)| [row(w, Label::Desirable), row(l, Label::Undesirable)])
            .collect()
    })
}
