//! The paper's ablations and identities, as settings of one loss.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use halo_loss::weighting::from_counts;
use halo_loss::{
    Estimator, Evaluation, Label, Loss, Need, Normalizer, Params, Point, Row, Zone, evaluate,
    saturation,
};

fn loss(name: &str, assignments: &[&str]) -> Loss {
    let mut params = Params::new();
    assignments
        .iter()
        .for_each(|assignment| params.parse(assignment).unwrap());
    Loss::new(name, &params).unwrap()
}

fn row(log_ratio: f64, label: Label) -> Row {
    Row {
        logp: -16.0 + log_ratio,
        ref_logp: -16.0,
        tokens: 4,
        label,
        ..Row::default()
    }
}

fn at(loss: &Loss, rows: &[Row], z0: f64) -> Evaluation {
    let rows: Vec<Row> = rows.iter().map(|row| Row { z0, ..*row }).collect();
    evaluate(loss, &rows, &Normalizer::of(loss, &rows)).unwrap()
}

fn point(estimator: Estimator, loss: &Loss, rows: &[Row]) -> Point {
    let mut sums = estimator.sums(1);
    estimator.accumulate(&mut sums, rows, &loss.observe(rows).unwrap());
    estimator.finish(&sums, &mut Vec::new())
}

#[test]
fn kto_at_the_reference_point_is_half_its_weight() {
    for (label, weight) in [(Label::Desirable, 1.5), (Label::Undesirable, 4.0)] {
        let kto = loss("kto", &["desirable_weight=1.5", "undesirable_weight=4"]);
        let result = at(&kto, &[row(2.25, label)], 2.25);
        assert_eq!(result.loss, weight / 2.0);
        assert_eq!(
            result.dlogps[0],
            -label.sign() * weight * 0.1 / 4.0,
            "the steepest slope, λβ/4"
        );
    }
}

#[test]
fn dpo_at_equal_log_ratios_is_the_logarithm_of_two() {
    let result = at(
        &loss("dpo", &[]),
        &[row(3.0, Label::Desirable), row(3.0, Label::Undesirable)],
        0.0,
    );
    assert_eq!(result.loss, core::f64::consts::LN_2);
    assert_eq!(result.dlogps, [-0.05, 0.05]);
}

#[test]
fn rewards_carry_beta() {
    let rows = [row(3.0, Label::Desirable), row(-2.0, Label::Undesirable)];
    for name in ["kto", "dpo"] {
        assert_eq!(
            at(&loss(name, &["beta=0.5"]), &rows, 1.0).rewards,
            [1.5, -1.0],
            "{name}"
        );
    }
    assert_eq!(at(&loss("sft", &[]), &rows, 0.0).rewards, [0.0, 0.0]);
    assert_eq!(
        at(&loss("kto", &["reference_policy=uniform"]), &rows, 0.0).rewards,
        [0.0, 0.0]
    );
}

#[test]
fn a_uniform_reference_needs_no_reference_and_no_clamp() {
    let kto = loss("kto", &["reference_policy=uniform"]);
    assert!(!kto.needs(Need::Reference));
    assert!(kto.needs(Need::ReferencePoint));
    let rows = [row(0.0, Label::Desirable), row(-8.0, Label::Undesirable)];
    assert_eq!(
        point(kto.reference_point().unwrap(), &kto, &rows),
        Point {
            raw: -20.0,
            value: -20.0,
            clamped: 0.0
        }
    );
    let per_token = kto.with("length_average", true).unwrap();
    let estimator = per_token.reference_point().unwrap();
    assert_eq!(point(estimator, &per_token, &rows).value, -5.0);
}

#[test]
fn a_clamp_can_be_had_or_not() {
    let rows = [row(-1.0, Label::Desirable), row(-3.0, Label::Undesirable)];
    for (clamp, value, clamped) in [("auto", 0.0, 1.0), ("on", 0.0, 1.0), ("off", -2.0, 0.0)] {
        let kto = loss("kto", &[&format!("reference_point_clamp={clamp}")]);
        let point = point(kto.reference_point().unwrap(), &kto, &rows);
        assert_eq!(
            (point.raw, point.value, point.clamped),
            (-2.0, value, clamped),
            "{clamp}"
        );
    }
}

#[test]
fn without_a_reference_point_no_mismatched_rows_are_needed() {
    let kto = loss("kto", &["reference_point=zero"]);
    assert!(!kto.needs(Need::ReferencePoint));
    assert!(kto.needs(Need::Reference));
}

#[test]
fn kto_gives_up_symmetrically_and_dpo_never() {
    let far = [
        row(100.0, Label::Desirable),
        row(100.0, Label::Undesirable),
        row(-100.0, Label::Desirable),
    ];
    let kto = at(&loss("kto", &[]), &far, 0.0);
    assert_eq!(kto.zones, [Zone::Learnt, Zone::GivenUp, Zone::GivenUp]);
    assert!(
        (kto.dlogps[0].abs() / kto.dlogps[2].abs() - 1.0).abs() < 1e-12,
        "ignored alike"
    );
    let wrong = [
        row(-100.0, Label::Desirable),
        row(100.0, Label::Undesirable),
    ];
    let dpo = at(&loss("dpo", &[]), &wrong, 0.0);
    assert_eq!(dpo.zones, [Zone::Active, Zone::Active]);
    assert!(dpo.dlogps[0] < -0.0999);
    assert_eq!(
        saturation::bounds(&loss("dpo", &[]), 0.01)
            .unwrap()
            .given_up,
        None
    );
}

#[test]
fn zones_are_counted_per_label() {
    let rows = [
        row(100.0, Label::Desirable),
        row(1.0, Label::Desirable),
        row(-1.0, Label::Undesirable),
        row(-100.0, Label::Undesirable),
        row(100.0, Label::Undesirable),
    ];
    let zones = at(&loss("kto", &[]), &rows, 0.0).zones;
    let [desirable, undesirable] = saturation::counts(&rows, &zones);
    assert_eq!(
        (desirable.learnt, desirable.active, desirable.given_up),
        (1, 1, 0)
    );
    assert_eq!(
        (undesirable.learnt, undesirable.active, undesirable.given_up),
        (1, 1, 1)
    );
    assert_eq!(saturation::Counts::of(&zones).total(), 5);
}

#[test]
fn chords_of_the_power_value_are_counted() {
    let power = loss("kto", &["value=kahneman_tversky"]);
    let rows = [
        row(0.0, Label::Desirable),
        row(0.0078125, Label::Undesirable),
        row(1.0, Label::Desirable),
    ];
    assert_eq!(at(&power, &rows, 0.0).clipped, 2);
    assert_eq!(at(&loss("kto", &[]), &rows, 0.0).clipped, 0);
}

#[test]
fn derived_weights_go_into_the_loss() {
    let kto = loss("kto", &[])
        .with_weights(from_counts(100, 500, 1.0).unwrap())
        .unwrap();
    let result = at(
        &kto,
        &[row(1.0, Label::Desirable), row(1.0, Label::Undesirable)],
        1.0,
    );
    assert_eq!(result.values, [2.5, 0.5]);
    let error = loss("dpo", &[])
        .with_weights(from_counts(1, 1, 1.0).unwrap())
        .unwrap_err();
    assert_eq!(error.argument(), Some("desirable_weight"));
}

#[test]
fn sft_averages_over_tokens_sequences_or_not() {
    let rows = [
        Row {
            logp: -6.0,
            ref_logp: 0.0,
            tokens: 3,
            label: Label::Desirable,
            ..Row::default()
        },
        Row {
            logp: -10.0,
            ref_logp: 0.0,
            tokens: 1,
            label: Label::Undesirable,
            ..Row::default()
        },
    ];
    let average = |word: &str| at(&loss("sft", &[&format!("average={word}")]), &rows, 0.0);
    assert_eq!(average("token").loss, 4.0);
    assert_eq!(average("token").dlogps, [-0.25, -0.25]);
    assert_eq!(average("sequence").loss, 6.0);
    assert_eq!(average("sum").loss, 8.0);
}
