//! The registry and its parameters in and out of JSON (feature `serde`).
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use halo_loss::{
    Evaluation, Label, Loss, Normalizer, Params, Point, Row, Zone, evaluate, registry,
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
    let again: Params = serde_json::from_value(all).unwrap();
    assert_eq!(Loss::new("kto", &again).unwrap(), loss);
}

#[test]
fn words_are_lower_case() {
    assert_eq!(serde_json::to_value(Label::Desirable).unwrap(), "desirable");
    assert_eq!(serde_json::to_value(Zone::GivenUp).unwrap(), "given_up");
    assert_eq!(
        serde_json::to_value(halo_loss::Scope::Microbatch).unwrap(),
        "microbatch"
    );
    let row: Row = serde_json::from_value(
        json!({"logp": -1, "ref_logp": -2, "tokens": 3, "label": "undesirable"}),
    )
    .unwrap();
    assert_eq!(row.label, Label::Undesirable);
}

#[test]
fn every_entry_of_the_registry_is_told_in_full() {
    let told = serde_json::to_value(registry()).unwrap();
    for (spec, told) in registry().iter().zip(told.as_array().unwrap()) {
        assert_eq!(told["name"], spec.name);
        assert_eq!(told["params"].as_array().unwrap().len(), spec.params.len());
        for param in told["params"].as_array().unwrap() {
            let kind = param["kind"]["type"].as_str().unwrap();
            assert!(["number", "choice", "flag"].contains(&kind));
            assert!(!param["kind"]["default"].is_null());
        }
    }
}

#[test]
fn evaluations_survive_bit_for_bit() {
    let loss = Loss::new("kto", &Params::new()).unwrap();
    let rows = [Row {
        logp: -20.1,
        ref_logp: -22.7,
        tokens: 10,
        label: Label::Desirable,
    }];
    let result = evaluate(
        &loss,
        &rows,
        &Point::default(),
        &Normalizer::of(&loss, &rows),
    )
    .unwrap();
    let text = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), result);
}
