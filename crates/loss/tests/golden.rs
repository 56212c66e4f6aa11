//! The golden files of `testdata/golden`: numbers that an independent formula made, and that anyone may read.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no result of the library"
)]

use std::fs;
use std::path::PathBuf;

use halo_loss::weighting::{Weights, from_counts};
use halo_loss::{
    Estimator, Label, Loss, Normalizer, ParamValue, Params, Point, Row, Zone, evaluate, registry,
    saturation,
};
use serde_json::Value;

/// The files hold correctly rounded numbers. Ours come through a handful of roundings, and e^-u multiplies the
/// rounding of u by u, which is at most 1e3 where e^-u is not 0: a thousand times 2⁻⁵³.
const RELATIVE: f64 = 1.2e-13;
/// Below this, results are on their way to underflow and no digit is owed.
const ABSOLUTE: f64 = 1e-300;

#[test]
fn every_loss_has_golden_values_and_meets_them() {
    for spec in registry() {
        let file = read(&format!("{}.json", spec.name));
        assert_eq!(file["loss"], spec.name);
        let cases = file["cases"].as_array().unwrap();
        assert!(!cases.is_empty(), "{}", spec.name);
        let mut worst = 0.0_f64;
        for case in cases {
            let name = format!("{}, {}", spec.name, case["name"]);
            let loss = Loss::new(spec.name, &params(&case["params"])).unwrap();
            let z0 = number(&case["reference_point"]);
            let point = Point {
                raw: z0,
                value: z0,
                clamped: false,
            };
            let normalizer = Normalizer {
                units: number(&case["normalizer"]["units"]),
                tokens: number(&case["normalizer"]["tokens"]),
            };
            let result = evaluate(&loss, &rows(&case["rows"]), &point, &normalizer).unwrap();
            for (what, ours) in [
                ("values", &result.values),
                ("dlogps", &result.dlogps),
                ("rewards", &result.rewards),
            ] {
                worst = worst.max(close(
                    &format!("{name}: {what}"),
                    ours,
                    &numbers(&case[what]),
                ));
            }
            // a sum of terms of both signs owes the digits of the terms
            let terms: f64 =
                result.values.iter().map(|v| v.abs()).sum::<f64>() / result.values.len() as f64;
            assert!(
                (result.loss - number(&case["loss"])).abs() <= RELATIVE * terms,
                "{name}: loss"
            );
            assert_eq!(result.zones, zones(&case["zones"]), "{name}: zones");
            assert_eq!(
                result.zones,
                saturation::zones(&loss, &rows(&case["rows"]), &point, 0.01).unwrap()
            );
            if let Some(published) = case.get("published") {
                published_digits(&name, &published["value"], result.values[0]);
                let slopes = published["dlogps"].as_array().unwrap();
                slopes
                    .iter()
                    .zip(&result.dlogps)
                    .for_each(|(p, ours)| published_digits(&name, p, *ours));
            }
        }
        println!(
            "{}: {} cases, largest relative error {worst:.1e}",
            spec.name,
            cases.len()
        );
    }
}

#[test]
fn reference_points_of_all_ranks_together_are_golden() {
    let file = read("reference_point.json");
    for case in file["cases"].as_array().unwrap() {
        let estimator = Estimator::new(case["estimator"].as_str().unwrap()).unwrap();
        let estimator = estimator.length_average(case["length_average"].as_bool().unwrap());
        let mut total = [0.0; 4];
        for rank in case["ranks"].as_array().unwrap() {
            let mut sums = [0.0; 4];
            estimator.accumulate(&mut sums, &rows(rank));
            total
                .iter_mut()
                .zip(sums)
                .for_each(|(total, sum)| *total += sum);
        }
        let point = estimator.finish(&total);
        let expected = &case["point"];
        let ours = [point.raw, point.value];
        close(
            &case["name"].to_string(),
            &ours,
            &[number(&expected["raw"]), number(&expected["value"])],
        );
        assert_eq!(
            point.clamped,
            expected["clamped"].as_bool().unwrap(),
            "{}",
            case["name"]
        );
    }
}

#[test]
fn bounds_are_where_a_bisection_finds_them() {
    for case in read("saturation.json")["cases"].as_array().unwrap() {
        let loss = Loss::new(case["loss"].as_str().unwrap(), &params(&case["params"])).unwrap();
        let bounds = saturation::bounds(&loss, number(&case["tolerance"])).unwrap();
        assert_eq!(
            bounds.max_slope.map(|s| s as f32),
            Some(number(&case["max_slope"]) as f32),
            "{case}"
        );
        for (what, ours) in [("learnt", bounds.learnt), ("given_up", bounds.given_up)] {
            // the script looks up to a million nats; a bound beyond is as good as none
            let ours = ours.filter(|bound| bound.abs() < 1e6);
            match (ours, case[what].as_f64()) {
                (Some(ours), Some(expected)) => assert!(
                    (ours / expected - 1.0).abs() < 1e-10,
                    "{what} {ours}: {case}"
                ),
                (ours, expected) => assert_eq!(ours, expected, "{what}: {case}"),
            }
        }
    }
}

#[test]
fn class_weights_are_golden() {
    for case in read("weighting.json")["cases"].as_array().unwrap() {
        let count = |key: &str| case[key].as_u64().unwrap();
        let weights = from_counts(
            count("desirable"),
            count("undesirable"),
            number(&case["target"]),
        )
        .unwrap();
        let expected = &case["weights"];
        let expected = Weights {
            desirable: number(&expected["desirable"]),
            undesirable: number(&expected["undesirable"]),
        };
        close(
            &case.to_string(),
            &[weights.desirable, weights.undesirable],
            &[expected.desirable, expected.undesirable],
        );
    }
}

#[test]
fn every_golden_file_belongs_to_a_loss_or_is_about_something() {
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".json") else {
            continue;
        };
        let file = read(&name);
        let known = registry().iter().any(|spec| spec.name == stem);
        assert!(
            known || file["about"].is_string(),
            "{name} is of no loss in the registry"
        );
    }
}

/// The largest relative error, if none is too large.
fn close(name: &str, ours: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(ours.len(), expected.len(), "{name}");
    let mut worst = 0.0_f64;
    for (a, b) in ours.iter().zip(expected) {
        let error = (a - b).abs();
        assert!(
            error <= RELATIVE * b.abs() + ABSOLUTE,
            "{name}: {a:e}, golden {b:e}"
        );
        if b.abs() > ABSOLUTE {
            worst = worst.max(error / b.abs());
        }
    }
    worst
}

/// As many digits as were published, at most twelve.
fn published_digits(name: &str, published: &Value, ours: f64) {
    let published: f64 = published.as_str().unwrap().parse().unwrap();
    assert!(
        (ours - published).abs() <= 6e-12 * published.abs() + 1e-18,
        "{name}: {ours}, published {published}"
    );
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden")
}

fn read(name: &str) -> Value {
    let path = folder().join(name);
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{name}: {e}; make it in testdata/golden/make.py"));
    serde_json::from_str(&text).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn params(value: &Value) -> Params {
    let mut params = Params::new();
    for (key, value) in value.as_object().unwrap() {
        let value = match value {
            Value::Number(x) => ParamValue::Number(x.as_f64().unwrap()),
            Value::Bool(flag) => ParamValue::Flag(*flag),
            Value::String(text) => ParamValue::Text(text.clone()),
            other => panic!("{other}"),
        };
        params.set(key, value);
    }
    params
}

fn rows(value: &Value) -> Vec<Row> {
    let row = |row: &Value| Row {
        logp: number(&row["logp"]),
        ref_logp: number(&row["ref_logp"]),
        tokens: row["tokens"].as_u64().unwrap() as u32,
        label: match row["label"].as_str().unwrap() {
            "desirable" => Label::Desirable,
            _ => Label::Undesirable,
        },
    };
    value.as_array().unwrap().iter().map(row).collect()
}

fn zones(value: &Value) -> Vec<Zone> {
    let zone = |zone: &Value| match zone.as_str().unwrap() {
        "learnt" => Zone::Learnt,
        "active" => Zone::Active,
        _ => Zone::GivenUp,
    };
    value.as_array().unwrap().iter().map(zone).collect()
}
