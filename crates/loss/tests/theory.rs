//! The papers' theorems against `testdata/golden/theory.json`, whose maker works them out without this library.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(clippy::disallowed_methods, reason = "no result of the library")]

use std::fs;
use std::path::PathBuf;

use halo_loss::theory::contradictory::{Contradictory, Drift};
use halo_loss::theory::{clamp, reward_shift};
use halo_loss::weighting::Weights;
use halo_loss::{Label, Loss, Normalizer, Params, Row, evaluate, find};
use serde_json::Value;

/// The files are correctly rounded; ours go through a handful of roundings, some of them of differences.
const RELATIVE: f64 = 1e-12;
/// A descent ends where its push is lost in rounding, which at the smallest curvature here, β²/4, is so wide.
const DESCENT: f64 = 1e-9;
/// More than any descent here takes.
const STEPS: u32 = 50_000;

fn theory(section: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/theory.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let cases = file[section].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{section}");
    cases
}

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap()
}

fn close(ours: f64, golden: f64, relative: f64, what: &Value) {
    let allowed = relative * golden.abs();
    assert!(
        (ours - golden).abs() <= allowed,
        "{ours} is not {golden}: {what}"
    );
}

fn loss(name: &str, beta: f64) -> Loss {
    let mut params = Params::new();
    params.set("beta", beta);
    Loss::new(name, &params).unwrap()
}

#[test]
fn contradictory_preferences_end_where_the_paper_says() {
    for case in theory("contradictory_preferences") {
        let beta = number(&case, "beta");
        let setting = Contradictory::new(number(&case, "p"), number(&case, "reference")).unwrap();
        close(
            setting.margin_optimum(beta),
            number(&case, "dpo"),
            RELATIVE,
            &case,
        );
        assert_eq!(
            Some(setting.margin_prefers_minority(beta)),
            case["minority"].as_bool()
        );
        assert_eq!(setting.drift(Weights::default()), Drift::Majority);
        for (name, key) in [("dpo", "dpo"), ("kto", "kto")] {
            let mut policy = setting.policy().unwrap();
            let end = policy
                .descend(&loss(name, beta), &setting.preferences(), STEPS)
                .unwrap();
            assert!(end.settled, "{name} {end:?}");
            close(end.probabilities[0], number(&case, key), DESCENT, &case);
        }
    }
}

#[test]
fn kto_turns_away_from_the_majority_at_lambda_star() {
    for case in theory("drift") {
        let setting = Contradictory::new(number(&case, "p"), number(&case, "reference")).unwrap();
        let threshold = setting.turning_weight().unwrap();
        close(threshold, number(&case, "threshold"), RELATIVE, &case);
        let kto = loss("kto", number(&case, "beta"));
        let reaches = |undesirable: f64| {
            let weights = Weights {
                desirable: 1.0,
                undesirable,
            };
            let drift = setting.drift(weights);
            let mut policy = setting.policy().unwrap();
            let kto = kto.with_weights(weights).unwrap();
            let end = policy.descend(&kto, &setting.preferences(), STEPS).unwrap();
            assert!(end.settled, "{end:?}");
            (drift, end.probabilities[0])
        };
        for limit in case["limits"].as_array().unwrap() {
            let weight = number(limit, "undesirable_weight");
            let (drift, end) = reaches(weight);
            let golden = number(limit, "reaches");
            assert!((end - golden).abs() < DESCENT, "{end} at {weight}: {case}");
            assert_eq!(drift == Drift::Majority, golden == 1.0);
        }
        // and close about the threshold
        assert!(reaches(threshold * 0.99).1 > 0.5 && reaches(threshold * 1.01).1 < 0.5);
    }
}

/// Point A of the handbook.
fn point_a() -> [Row; 2] {
    let row = |logp, ref_logp, tokens, label| Row {
        logp,
        ref_logp,
        tokens,
        label,
        ..Row::default()
    };
    [
        row(-20.0, -22.0, 10, Label::Desirable),
        row(-18.0, -17.0, 6, Label::Undesirable),
    ]
}

#[test]
fn a_shift_of_rewards_changes_what_the_reference_point_does_not_follow() {
    for case in theory("reward_shift") {
        let loss = loss(case["loss"].as_str().unwrap(), 0.1);
        let rows = point_a().map(|row| Row {
            z0: number(&case, "reference_point"),
            ..row
        });
        let after = reward_shift::compare(&loss, &rows, 0, number(&case, "h"))
            .unwrap()
            .after;
        close(after.values[0], number(&case, "desirable"), RELATIVE, &case);
        close(
            after.values[1],
            number(&case, "undesirable"),
            RELATIVE,
            &case,
        );
    }
}

#[test]
fn the_losses_blind_to_a_shift_are_those_of_the_margin() {
    let mut tried = 0;
    for case in theory("invariance") {
        let Ok(spec) = find(case["loss"].as_str().unwrap()) else {
            continue;
        };
        let loss = Loss::new(spec.name, &Params::new()).unwrap();
        let found = reward_shift::invariance(&loss).unwrap().unwrap();
        assert_eq!(
            Some(found.invariant),
            case["invariant"].as_bool(),
            "{case} {found:?}"
        );
        tried += 1;
    }
    assert!(tried > 0);
}

#[test]
fn the_clamp_is_biased_as_a_normal_says() {
    for case in theory("clamp") {
        let batch = case["batch"].as_u64().unwrap();
        let found =
            clamp::clamped(number(&case, "mean"), number(&case, "deviation"), batch).unwrap();
        close(found.expected, number(&case, "expected"), RELATIVE, &case);
        close(found.zero, number(&case, "zero"), RELATIVE, &case);
    }
}

#[test]
fn slopes_vanish_at_the_optima() {
    for case in theory("optima") {
        let Ok(spec) = find(case["loss"].as_str().unwrap()) else {
            continue;
        };
        let mut params = Params::new();
        for (key, value) in case["params"].as_object().unwrap() {
            params.set(key, value.as_f64().unwrap());
        }
        let loss = Loss::new(spec.name, &params).unwrap();
        // of one token each, so that an average over tokens changes nothing; the rejected row stays at its reference
        let slope = |place: f64| {
            let [chosen, rejected] = point_a().map(|row| Row {
                tokens: 1,
                ref_logp: row.logp,
                ..row
            });
            let rows = [
                Row {
                    ref_logp: chosen.logp - place,
                    ..chosen
                },
                rejected,
            ];
            evaluate(&loss, &rows, &Normalizer::of(&loss, &rows))
                .unwrap()
                .dlogps[0]
        };
        let optimum = number(&case, "optimum");
        let steep = slope(optimum - 1.0).abs();
        assert!(
            slope(optimum).abs() < 1e-10 * steep,
            "{case}: {}",
            slope(optimum)
        );
        assert!(
            slope(optimum - 0.1) < 0.0 && slope(optimum + 0.1) > 0.0,
            "{case}"
        );
    }
}
