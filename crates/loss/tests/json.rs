//! The registry, parameters, rows and results in and out of JSON (feature `serde`).
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use halo_loss::{
    Evaluation, Label, Loss, Need, Normalizer, Params, Point, Row, TokenColumns, Zone, evaluate,
    modifiers, registry,
};
use serde_json::json;

#[test]
fn parameters_are_a_flat_object() {
    let params: Params = serde_json::from_value(json!({
        "beta": 1, "value": "identity", "length_average": true, "reference_policy": "uniform"
    }))
    .unwrap();
    let loss = Loss::new("kto", &params).unwrap();
    let all = serde_json::to_value(loss.params()).unwrap();
    assert_eq!(all["beta"], 1.0);
    assert_eq!(all["value"], "identity");
    assert_eq!(all["length_average"], true);
    assert_eq!(all["desirable_weight"], 1.0, "defaults are written too");
    assert_eq!(all["label_smoothing"], 0.0, "those of modifiers too");
    let again: Params = serde_json::from_value(all).unwrap();
    assert_eq!(Loss::new("kto", &again).unwrap(), loss);
}

#[test]
fn parameters_of_a_sum_carry_their_losss_name() {
    let params: Params =
        serde_json::from_value(json!({"dpo.beta": 0.5, "sft.average": "sum"})).unwrap();
    let sum = Loss::new("dpo + 0.5*sft", &params).unwrap();
    let all = serde_json::to_value(sum.params()).unwrap();
    assert_eq!(
        (&all["dpo.beta"], &all["sft.average"]),
        (&json!(0.5), &json!("sum"))
    );
    let again: Params = serde_json::from_value(all).unwrap();
    assert_eq!(Loss::new(sum.name(), &again).unwrap(), sum);
}

#[test]
fn words_are_lower_case() {
    assert_eq!(serde_json::to_value(Label::Desirable).unwrap(), "desirable");
    assert_eq!(serde_json::to_value(Zone::GivenUp).unwrap(), "given_up");
    let scope = halo_loss::Scope::Microbatch;
    assert_eq!(serde_json::to_value(scope).unwrap(), "microbatch");
    let mut told = Vec::new();
    for need in Need::ALL {
        let word = serde_json::to_value(need).unwrap();
        assert_eq!(serde_json::from_value::<Need>(word.clone()).unwrap(), need);
        assert!(!told.contains(&word), "{word} is two needs");
        told.push(word);
    }
    assert!(told.contains(&json!("token_logps")));
}

#[test]
fn rows_survive_and_what_is_not_said_is_as_by_default() {
    let row: Row = serde_json::from_value(
        json!({"logp": -1, "ref_logp": -2, "tokens": 3, "label": "undesirable"}),
    )
    .unwrap();
    let expected = Row {
        logp: -1.0,
        ref_logp: -2.0,
        tokens: 3,
        label: Label::Undesirable,
        ..Row::default()
    };
    assert_eq!(row, expected);
    assert_eq!((row.weight, row.beta_scale), (1.0, 1.0));
    assert_eq!(
        serde_json::from_value::<Row>(json!({})).unwrap(),
        Row::default()
    );
    let all = Row {
        logp: -20.1,
        ref_logp: -22.7,
        old_logp: -1.0 / 3.0,
        tokens: 10,
        label: Label::Undesirable,
        group: 4,
        score: 0.1,
        advantage: -0.7,
        weight: 2.5,
        beta_scale: 0.3,
        z0: 1e-300,
    };
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), all);
}

#[test]
fn columns_survive_and_may_be_absent() {
    let columns: TokenColumns = serde_json::from_value(json!({"logps": [-1, -0.1]})).unwrap();
    assert_eq!(columns.view().logps, [-1.0, -0.1]);
    assert!(columns.view().log_collisions.is_empty());
    let all = TokenColumns {
        logps: vec![-0.1, -1.0 / 3.0],
        ref_logps: vec![-0.7],
        old_logps: vec![],
        log_collisions: vec![-1e-300],
    };
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<TokenColumns>(&text).unwrap(), all);
}

#[test]
fn every_entry_of_the_registry_is_told_in_full() {
    let told = serde_json::to_value(registry()).unwrap();
    for (spec, told) in registry().iter().zip(told.as_array().unwrap()) {
        assert_eq!(told["name"], spec.name);
        assert_eq!(told["params"].as_array().unwrap().len(), spec.params.len());
        assert_eq!(
            told["presets"].as_array().unwrap().len(),
            spec.presets.len()
        );
        assert_eq!(told["fits"].as_array().unwrap().len(), spec.fits.len());
        let modifiers = told["modifiers"].as_array().unwrap();
        let names: Vec<&str> = modifiers
            .iter()
            .map(|told| told["name"].as_str().unwrap())
            .collect();
        let expected: Vec<&str> = spec
            .modifiers
            .iter()
            .map(|modifier| modifier.name)
            .collect();
        assert_eq!(names, expected);
        let own = told["params"].as_array().unwrap().iter();
        let theirs = modifiers
            .iter()
            .flat_map(|told| told["params"].as_array().unwrap());
        for param in own.chain(theirs) {
            let kind = param["kind"]["type"].as_str().unwrap();
            assert!(["number", "choice", "flag"].contains(&kind));
            assert!(!param["kind"]["default"].is_null());
        }
    }
    let told = serde_json::to_value(modifiers::registry()).unwrap();
    assert_eq!(told.as_array().unwrap().len(), modifiers::registry().len());
}

#[test]
fn evaluations_and_points_survive_bit_for_bit() {
    let rows = [Row {
        logp: -20.1,
        ref_logp: -22.7,
        tokens: 10,
        ..Row::default()
    }];
    let loss = Loss::new("kto", &Params::new()).unwrap();
    let normalizer = Normalizer::of(&loss, &rows);
    let result = evaluate(&loss, &rows, &normalizer).unwrap();
    let text = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), result);
    let text = serde_json::to_string(&normalizer).unwrap();
    assert_eq!(
        serde_json::from_str::<Normalizer>(&text).unwrap(),
        normalizer
    );
    let point = Point {
        raw: -0.1,
        value: 0.0,
        clamped: 1.0 / 3.0,
    };
    let text = serde_json::to_string(&point).unwrap();
    assert_eq!(serde_json::from_str::<Point>(&text).unwrap(), point);
}
