//! Numbers that no model gives on a good day, and where rows stand on them.
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

use halo_loss::{
    DataShape, Label, Loss, Need, Normalizer, Row, TokenColumns, Zone, registry, saturation,
};
use plans::{
    Data, OLD, POLICY, REFERENCE, data, every_configuration, finite, is, label, mismatched,
    prepared, step, stops_gradients, token_slopes, weighs,
};
use proptest::prelude::*;
use strategies::{any_loss_at_all, runner};

#[test]
fn everything_is_finite_at_margins_of_ten_thousand() {
    for spec in registry() {
        let cases = (
            any_loss_at_all(spec),
            any::<[bool; 6]>(),
            -1e4..1e4_f64,
            [1..5_usize, 1..5],
        );
        let tested = runner(96).run(&cases, |(loss, signs, z0, lengths)| {
            let data = far(signs, z0, lengths);
            let result = data
                .evaluate(&loss)
                .unwrap_or_else(|e| panic!("{loss}: {e}"));
            prop_assert!(finite(&result), "{loss}: {result:?}");
            let places = saturation::places(&loss, data.view(), 0.01).unwrap();
            prop_assert!(
                places.iter().all(|(place, _)| place.is_finite()),
                "{loss}: {places:?}"
            );
            Ok(())
        });
        tested.unwrap_or_else(|e| panic!("{}: {e}", spec.name));
    }
}

/// A pair of rows of a few tokens, or of one, each far from the reference and from the policy that sampled it.
fn far(signs: [bool; 6], z0: f64, lengths: [usize; 2]) -> Data {
    let (mut rows, mut columns) = (Vec::new(), TokenColumns::default());
    for i in 0..2 {
        let logp = if signs[i] { -2e4 } else { -1e4 - 1.0 };
        let away = |sign: bool| if sign { 1e4 } else { -1e4 };
        let (ref_logp, old_logp) = (logp + away(signs[i + 2]), logp + away(signs[i + 4]));
        // halves, the last twice: sums are exact
        let n = lengths[i];
        let half = |t: usize| 0.5_f64.powi((t + 1).min(n - 1) as i32);
        let split = |sum: f64| (0..n).map(move |t| sum * half(t));
        columns.logps.extend(split(logp));
        columns.ref_logps.extend(split(ref_logp));
        columns.old_logps.extend(split(old_logp));
        let collisions = [-12.0, -6.0, -0.125, -1e4];
        columns.log_collisions.extend(&collisions[..n]);
        rows.push(Row {
            logp,
            ref_logp,
            old_logp,
            tokens: n as u32,
            label: label(i),
            score: 1.0 - i as f64,
            advantage: if signs[4] == signs[0] { 2.0 } else { -2.0 },
            z0,
            ..Row::default()
        });
    }
    Data { rows, columns }
}

/// A whole step of each: reference points and advantages too are made of these rows.
#[test]
fn hostile_batches_give_numbers() {
    let equal = |mut data: Data, number: f64| {
        for column in [POLICY, REFERENCE, OLD] {
            column(&mut data).0.fill(number);
        }
        data.columns.log_collisions.fill(number);
        data.with(|_, row| {
            let sum = number * f64::from(row.tokens);
            (row.logp, row.ref_logp, row.old_logp) = (sum, sum, sum);
        })
    };
    let batches: [(&str, Data); 9] = [
        ("one unit", data().part(0..2)),
        ("equal log-probabilities", equal(data(), -1.5)),
        ("log-probabilities of 0", equal(data(), 0.0)),
        ("log-probabilities of -1e4 a token", equal(data(), -1e4)),
        ("one row unlike the others", far_first(data())),
        ("completions of one token", short(&data(), 1)),
        ("equal scores", data().with(|_, row| row.score = 0.5)),
        ("all of one prompt", data().with(|_, row| row.group = 0)),
        (
            "each of its own prompt",
            data().with(|index, row| row.group = index as u32),
        ),
    ];
    every_configuration(|loss| {
        for (what, batch) in &batches {
            check(loss, what, batch);
        }
        if loss.data_shape() == DataShape::Paired {
            return;
        }
        check(loss, "one row", &data().part(0..1));
        for label in [Label::Desirable, Label::Undesirable] {
            check(loss, "one class", &data().with(|_, row| row.label = label));
        }
    });
}

fn check(loss: &Loss, what: &str, batch: &Data) {
    let twins = mismatched().part(0..batch.rows.len());
    let (point, result) = step(loss, batch, &twins);
    assert!(finite(&result), "{loss}: {what}: {result:?}");
    assert!(
        point.raw.is_finite() && point.value.is_finite(),
        "{loss}: {what}: {point:?}"
    );
    assert!(
        (0.0..=1.0).contains(&point.clamped),
        "{loss}: {what}: {point:?}"
    );
}

/// The first token of the first row at -1e4, in the policy only.
fn far_first(mut data: Data) -> Data {
    data.add(POLICY, 0, 0, -1e4);
    data
}

/// The first tokens of every row only.
fn short(data: &Data, tokens: usize) -> Data {
    let (mut rows, mut columns) = (Vec::new(), TokenColumns::default());
    for (index, row) in data.rows.iter().enumerate() {
        let start = data.span(index).start;
        let kept = start..start + tokens;
        let cut = |from: &[f64], to: &mut Vec<f64>| -> f64 {
            to.extend(&from[kept.clone()]);
            from[kept.clone()].iter().sum()
        };
        cut(&data.columns.log_collisions, &mut columns.log_collisions);
        rows.push(Row {
            logp: cut(&data.columns.logps, &mut columns.logps),
            ref_logp: cut(&data.columns.ref_logps, &mut columns.ref_logps),
            old_logp: cut(&data.columns.old_logps, &mut columns.old_logps),
            tokens: tokens as u32,
            ..*row
        });
    }
    Data { rows, columns }
}

#[test]
fn zones_and_places_are_those_of_the_evaluation() {
    every_configuration(|loss| {
        let (_, here) = prepared(loss, &data(), &mismatched());
        let result = here.evaluate(loss).unwrap();
        let tolerance = saturation::TOLERANCE;
        assert_eq!(
            saturation::zones(loss, here.view(), tolerance).unwrap(),
            result.zones,
            "{loss}"
        );
        let bounds = saturation::bounds(loss, tolerance).unwrap();
        let places = saturation::places(loss, here.view(), tolerance).unwrap();
        for ((place, zone), told) in places.iter().zip(&result.zones) {
            assert_eq!((bounds.zone(*place), zone), (*told, told), "{loss}");
        }
        if loss.data_shape() == DataShape::Paired && !loss.couples() {
            let pairs = places.as_chunks::<2>().0;
            assert!(
                pairs.iter().all(|[chosen, rejected]| chosen == rejected),
                "{loss}"
            );
        }
    });
}

#[test]
fn tolerances_move_bounds_one_way() {
    every_configuration(|loss| {
        let at = |tolerance| saturation::bounds(loss, tolerance).unwrap();
        let (loose, tight) = (at(0.1), at(0.01));
        assert_eq!(loose.max_slope, tight.max_slope, "{loss}");
        assert_eq!(loose.axis, tight.axis, "{loss}");
        assert_eq!(loose.learnt.is_some(), tight.learnt.is_some(), "{loss}");
        assert!(loose.learnt <= tight.learnt, "{loss}");
        if let (Some(loose), Some(tight)) = (loose.given_up, tight.given_up) {
            assert!(loose >= tight, "{loss}");
        }
    });
}

#[test]
fn zones_are_where_the_slope_says() {
    every_configuration(|loss| {
        let bounds = saturation::bounds(loss, 0.01).unwrap();
        // the power curve's sides have steepest slopes of their own: unit tests of value.rs
        let sided = is(loss, "value", "kahneman_tversky");
        let Some(steepest) = bounds.max_slope else {
            return;
        };
        // tokens beyond a clip have no slope, weights change it, and coupled pairs move each other
        if loss.per_token() || weighs(loss) || loss.couples() || stops_gradients(loss) {
            return;
        }
        for margin in (-400..=400).map(|i| f64::from(i) * 0.75 + 0.1) {
            let mut two = data().part(0..2);
            two.rows[0].logp = match loss.needs(Need::Reference) {
                true => two.rows[0].ref_logp + margin,
                false => two.rows[1].logp + margin,
            };
            let units = 2.0 / loss.rows_per_unit() as f64;
            let normalizer = Normalizer {
                units,
                tokens: 1.0,
                desirable_tokens: 1.0,
            };
            let result = two.evaluate_as(loss, &normalizer).unwrap();
            let signed = token_slopes(loss, &two, &result)[0] * units;
            let slope = match loss.needs(Need::Lengths) {
                true => signed.abs() * f64::from(two.rows[0].tokens),
                false => signed.abs(),
            };
            assert!(
                slope <= steepest * (1.0 + 1e-12),
                "{loss} at {margin}: slope {slope} above {steepest}"
            );
            if sided {
                continue;
            }
            // beyond its optimum a smoothed loss pulls back: what was to be learnt is
            let pulls = slope >= 0.01 * steepest && signed < 0.0;
            let active = result.zones[0] == Zone::Active;
            assert_eq!(active, pulls, "{loss} at {margin}: {signed} of {steepest}");
        }
    });
}
