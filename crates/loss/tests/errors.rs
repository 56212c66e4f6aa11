//! What a person reads when a name, a parameter or the data is wrong.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use halo_loss::reference_point::NAMES;
use halo_loss::{
    Batch, Error, Estimator, Label, Loss, Normalizer, Params, Row, Tokens, evaluate, registry,
    saturation,
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
    let error = refused("sft", &["beta=0.1"]);
    assert!(error.is_parameter());
    assert_eq!(error.argument(), Some("beta"));
    assert_eq!(
        error.to_string(),
        "sft: unknown parameter \"beta\"; known: average"
    );
    // those of the modifiers too
    let known = registry()
        .iter()
        .find(|spec| spec.name == "dpo")
        .unwrap()
        .all_params();
    let known: Vec<&str> = known.map(|param| param.name).collect();
    assert_eq!(
        refused("dpo", &["desirable_weight=2"]).to_string(),
        format!(
            "dpo: unknown parameter \"desirable_weight\"; known: {}",
            known.join(", ")
        )
    );
}

#[test]
fn an_unknown_preset_lists_the_known_ones() {
    assert_eq!(
        refused("kto", &["compat=openai"]).to_string(),
        "kto: compat = \"openai\" is not trl, halos or nemo"
    );
    assert_eq!(
        refused("sft", &["compat=1"]).to_string(),
        "sft: compat = \"1\", but there are no presets of it"
    );
}

#[test]
fn a_number_out_of_range_says_the_range() {
    assert_eq!(
        refused("kto", &["beta=-1"]).to_string(),
        "kto: beta = -1 is outside 1e-6..=100000"
    );
    assert_eq!(
        refused("kto", &["value_alpha=1.5"]).to_string(),
        "kto: value_alpha = 1.5 is outside 0.001..=1"
    );
    for bad in ["nan", "inf", "-inf", "0", "1e6"] {
        assert!(
            refused("dpo", &[&format!("beta={bad}")])
                .to_string()
                .contains("is outside 1e-6..=100000"),
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
        "kto: beta = high is a text, not 1e-6..=100000"
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
        ..Row::default()
    }
}

fn on(loss: &Loss, rows: &[Row]) -> Result<halo_loss::Evaluation, Error> {
    evaluate(loss, rows, &counts(1.0, 2.0))
}

fn counts(units: f64, tokens: f64) -> Normalizer {
    Normalizer {
        units,
        tokens,
        desirable_tokens: tokens,
    }
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
        for (name, row) in [
            ("z0", Row { z0: bad, ..good }),
            (
                "weight",
                Row {
                    weight: bad,
                    ..good
                },
            ),
            (
                "beta_scale",
                Row {
                    beta_scale: bad,
                    ..good
                },
            ),
        ] {
            let error = on(&loss, &[good, row]).unwrap_err();
            assert_eq!((error.row(), error.argument()), (Some(1), Some(name)));
            assert_eq!(
                error.to_string(),
                format!("row 1: {name} = {bad} is not finite")
            );
        }
        let unread = Row {
            old_logp: bad,
            advantage: bad,
            score: bad,
            ..good
        };
        assert!(
            on(&loss, &[unread]).is_ok(),
            "what is not needed is not looked at"
        );
    }
}

#[test]
fn weights_are_not_negative_and_a_beta_is_positive() {
    let loss = Loss::new("kto", &Params::new()).unwrap();
    let good = row(Label::Desirable);
    let error = on(
        &loss,
        &[Row {
            weight: -0.5,
            ..good
        }],
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "row 0: weight = -0.5 is negative");
    for bad in [0.0, -1.0] {
        let row = Row {
            beta_scale: bad,
            ..good
        };
        let error = on(&loss, &[row]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("row 0: beta_scale = {bad} is not positive")
        );
    }
}

#[test]
fn columns_of_tokens_must_be_there_whole_and_finite() {
    let loss = Loss::new("dpo", &Params::new()).unwrap();
    let loss = loss.with("humanline", true).unwrap();
    let rows = [row(Label::Desirable), row(Label::Undesirable)];
    let on = |tokens| {
        let batch = Batch {
            rows: &rows,
            tokens,
        };
        evaluate(&loss, batch, &counts(1.0, 4.0)).unwrap_err()
    };
    let four = [-1.0; 4];
    let none = Tokens::default();
    assert_eq!(
        on(none).to_string(),
        "dpo reads every token: tokens.logps has 0 numbers, the rows have 4 tokens"
    );
    assert_eq!(
        on(Tokens {
            logps: &four,
            ref_logps: &four[..3],
            ..none
        })
        .to_string(),
        "dpo reads every token: tokens.ref_logps has 3 numbers, the rows have 4 tokens"
    );
    let error = on(Tokens {
        logps: &four,
        ref_logps: &[-1.0, -1.0, f64::NAN, -1.0],
        ..none
    });
    assert_eq!(
        error.to_string(),
        "row 1: tokens.ref_logps[2] = NaN is not finite"
    );
    assert_eq!((error.row(), error.argument()), (Some(1), Some("tokens")));
    // the estimator reads them too
    assert_eq!(
        Loss::new("kto", &Params::new())
            .unwrap()
            .with("humanline", true)
            .unwrap()
            .observe(&rows)
            .unwrap_err()
            .argument(),
        Some("tokens")
    );
}

#[test]
fn a_normaliser_that_is_no_count_is_refused() {
    let loss = Loss::new("kto", &Params::new()).unwrap();
    let rows = [row(Label::Desirable)];
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = evaluate(&loss, &rows, &counts(bad, 1.0)).unwrap_err();
        assert_eq!(error.argument(), Some("units"));
    }
    let tokens = Loss::new("sft", &Params::new()).unwrap();
    let error = evaluate(&tokens, &rows, &counts(1.0, 0.0)).unwrap_err();
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
