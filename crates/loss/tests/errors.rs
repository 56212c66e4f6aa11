//! What a person reads when a name, a parameter or the data is wrong.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use halo_loss::reference_point::NAMES;
use halo_loss::{
    Error, Estimator, Label, Loss, Normalizer, Params, Point, Row, evaluate, registry, saturation,
};

fn refused(name: &str, assignments: &[&str]) -> Error {
    let mut params = Params::new();
    assignments
        .iter()
        .for_each(|assignment| params.parse(assignment).unwrap());
    Loss::new(name, &params).unwrap_err()
}

#[test]
fn an_unknown_loss_lists_the_known_ones() {
    let error = refused("ktoo", &[]);
    assert!(error.is_name());
    let known: Vec<&str> = registry().iter().map(|spec| spec.name).collect();
    assert_eq!(
        error.to_string(),
        format!("unknown loss \"ktoo\"; known: {}", known.join(", "))
    );
    assert!(Loss::new("", &Params::new()).unwrap_err().is_name());
    assert!(
        Loss::new("KTO", &Params::new()).unwrap_err().is_name(),
        "names are lower case"
    );
}

#[test]
fn an_unknown_parameter_lists_the_known_ones() {
    let error = refused("dpo", &["label_smoothing=0.1"]);
    assert!(error.is_parameter());
    assert_eq!(error.argument(), Some("label_smoothing"));
    assert_eq!(
        error.to_string(),
        "dpo: unknown parameter \"label_smoothing\"; known: beta"
    );
}

#[test]
fn a_number_out_of_range_says_the_range() {
    assert_eq!(
        refused("kto", &["beta=-1"]).to_string(),
        "kto: beta = -1 is outside 1e-6..=10000"
    );
    assert_eq!(
        refused("kto", &["value_alpha=1.5"]).to_string(),
        "kto: value_alpha = 1.5 is outside 0.001..=1"
    );
    for bad in ["nan", "inf", "-inf", "0", "1e5"] {
        assert!(
            refused("dpo", &[&format!("beta={bad}")])
                .to_string()
                .contains("is outside 1e-6..=10000"),
            "{bad}"
        );
    }
}

#[test]
fn a_word_that_is_none_of_the_choices_lists_them() {
    assert_eq!(
        refused("sft", &["average=tokens"]).to_string(),
        "sft: average = \"tokens\" is not one of token, sequence, sum"
    );
}

#[test]
fn a_value_of_another_type_says_what_is_expected() {
    assert_eq!(
        refused("kto", &["beta=high"]).to_string(),
        "kto: beta = high is a text, not 1e-6..=10000"
    );
    assert_eq!(
        refused("kto", &["length_average=1"]).to_string(),
        "kto: length_average = 1 is a number, not true or false"
    );
    assert!(
        refused("kto", &["value=true"])
            .to_string()
            .starts_with("kto: value = true is a flag, not logistic,")
    );
}

#[test]
fn contradictions_are_refused_and_explained() {
    let error = refused(
        "kto",
        &["reference_policy=uniform", "reference_point=batch_mean"],
    );
    assert_eq!(
        error.to_string(),
        "kto: reference_point = batch_mean does not go with reference_policy = uniform, which allows mismatch, \
         uniform or zero"
    );
    assert_eq!(error.argument(), Some("reference_point"));
    assert!(refused("kto", &["reference_point=uniform"]).is_parameter());
}

#[test]
fn an_assignment_without_a_key_or_an_equals_sign_is_refused() {
    for bad in ["beta", "=1", "", " = 2"] {
        let error = Params::new().parse(bad).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{bad:?} is not of the form key=value")
        );
    }
}

#[test]
fn an_unknown_reference_point_lists_the_known_ones() {
    let error = Estimator::new("mean").unwrap_err();
    assert!(error.is_name());
    let known = NAMES.join(", ");
    assert_eq!(
        error.to_string(),
        format!("unknown reference point \"mean\"; known: {known}")
    );
}

fn row(label: Label) -> Row {
    Row {
        logp: -3.0,
        ref_logp: -4.0,
        tokens: 2,
        label,
    }
}

fn on(loss: &Loss, rows: &[Row]) -> Result<halo_loss::Evaluation, Error> {
    evaluate(
        loss,
        rows,
        &Point::default(),
        &Normalizer {
            units: 1.0,
            tokens: 2.0,
        },
    )
}

#[test]
fn numbers_that_are_not_finite_are_named_with_their_row() {
    let loss = Loss::new("kto", &Params::new()).unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let good = row(Label::Desirable);
        let error = on(&loss, &[good, Row { logp: bad, ..good }]).unwrap_err();
        assert!(error.is_data());
        assert_eq!((error.row(), error.argument()), (Some(1), Some("logp")));
        assert_eq!(
            error.to_string(),
            format!("row 1: logp = {bad} is not finite")
        );
        let error = on(
            &loss,
            &[Row {
                ref_logp: bad,
                ..good
            }],
        )
        .unwrap_err();
        assert_eq!((error.row(), error.argument()), (Some(0), Some("ref_logp")));
        let point = Point {
            raw: bad,
            value: bad,
            clamped: false,
        };
        let error = evaluate(&loss, &[good], &point, &Normalizer::of(&loss, &[good])).unwrap_err();
        assert_eq!(error.argument(), Some("reference_point"));
    }
}

#[test]
fn a_normaliser_that_is_no_count_is_refused() {
    let loss = Loss::new("kto", &Params::new()).unwrap();
    let rows = [row(Label::Desirable)];
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = evaluate(
            &loss,
            &rows,
            &Point::default(),
            &Normalizer {
                units: bad,
                tokens: 1.0,
            },
        )
        .unwrap_err();
        assert_eq!(error.argument(), Some("units"));
    }
    let tokens = Loss::new("sft", &Params::new()).unwrap();
    let error = evaluate(
        &tokens,
        &rows,
        &Point::default(),
        &Normalizer {
            units: 1.0,
            tokens: 0.0,
        },
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "normaliser: tokens = 0 is not a positive count"
    );
}

#[test]
fn pairs_must_be_whole_and_in_order() {
    let loss = Loss::new("dpo", &Params::new()).unwrap();
    let (w, l) = (row(Label::Desirable), row(Label::Undesirable));
    assert!(on(&loss, &[w, l]).is_ok());
    assert_eq!(
        on(&loss, &[w, l, w]).unwrap_err().to_string(),
        "dpo needs rows in groups of 2, got 3"
    );
    let error = on(&loss, &[w, l, l, w]).unwrap_err();
    assert_eq!((error.row(), error.argument()), (Some(2), Some("label")));
}

#[test]
fn an_empty_completion_is_refused_where_lengths_count() {
    let empty = Row {
        tokens: 0,
        ..row(Label::Desirable)
    };
    let mean = Loss::new("sft", &Params::new())
        .unwrap()
        .with("average", "sequence")
        .unwrap();
    assert_eq!(
        on(&mean, &[empty]).unwrap_err().to_string(),
        "row 0: the completion has no tokens"
    );
    assert!(on(&Loss::new("kto", &Params::new()).unwrap(), &[empty]).is_ok());
}

#[test]
fn an_overflow_is_an_error_and_not_an_infinity() {
    let loss = Loss::new("kto", &Params::new())
        .unwrap()
        .with("value", "identity")
        .unwrap();
    let huge = Row {
        logp: -1e308,
        ref_logp: 1e308,
        ..row(Label::Desirable)
    };
    let error = on(&loss, &[row(Label::Desirable), huge]).unwrap_err();
    assert!(error.is_data());
    assert_eq!(error.row(), Some(1));
}

#[test]
fn a_tolerance_outside_0_to_1_is_refused() {
    let loss = Loss::new("kto", &Params::new()).unwrap();
    for bad in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(saturation::bounds(&loss, bad).unwrap_err().is_parameter());
    }
}
