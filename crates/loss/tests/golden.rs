//! The golden files of `testdata/golden`: numbers that an independent formula made, and that anyone may read.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no result of the library"
)]

#[path = "support/golden.rs"]
mod support;

use std::fs;

use halo_loss::weighting::from_counts;
use halo_loss::{
    Advantage, Batch, Estimator, Loss, Point, Tokens, advantage, find, registry, saturation,
};
use support::{Case, close, folder, number, numbers, params, read, rows, together};

/// Read by the crate that makes theorems of it, not here.
const ELSEWHERE: &str = "theory";

#[test]
fn every_loss_has_golden_values_and_meets_them() {
    let mut wrong = Vec::new();
    for spec in registry() {
        let file = read(&format!("{}.json", spec.name));
        assert_eq!(file["loss"], spec.name);
        let cases = file["cases"].as_array().unwrap();
        assert!(!cases.is_empty(), "{}", spec.name);
        let mut worst = 0.0_f64;
        for case in cases {
            let case = Case::new(spec.name, case);
            worst = worst.max(case.check(&mut wrong));
        }
        println!(
            "{}: {} cases, largest relative error {worst:.1e}",
            spec.name,
            cases.len()
        );
    }
    together(&wrong);
}

#[test]
fn modifiers_weights_of_rows_and_sums_are_golden() {
    let (mut wrong, file) = (Vec::new(), read("modifiers.json"));
    let mut worst = std::collections::BTreeMap::<&str, (usize, f64)>::new();
    for case in file["cases"].as_array().unwrap() {
        let name = case["of"].as_str().unwrap();
        let error = Case::new(name, case).check(&mut wrong);
        let (count, largest) = worst.entry(name).or_default();
        (*count, *largest) = (*count + 1, largest.max(error));
    }
    for (name, (count, worst)) in worst {
        println!("{name}, modified: {count} cases, largest relative error {worst:.1e}");
    }
    together(&wrong);
}

/// Each rank has sums of its own, which are added; what an estimator remembers goes from step to step.
#[test]
fn reference_points_of_all_ranks_and_steps_together_are_golden() {
    let (mut wrong, file) = (Vec::new(), read("reference_point.json"));
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let settings = |key: &str, default: f64| case["settings"][key].as_f64().unwrap_or(default);
        let estimator = Estimator::new(case["estimator"].as_str().unwrap()).unwrap();
        let estimator = estimator
            .length_average(case["length_average"].as_bool().unwrap())
            .memory(settings("decay", 0.9), settings("window", 256.0));
        let (mut memory, mut point, mut given) = (Vec::new(), Point::default(), Vec::new());
        for step in case["steps"].as_array().unwrap() {
            let ranks = step["ranks"].as_array().unwrap();
            let ranks: Vec<_> = ranks
                .iter()
                .map(|rank| (rows(rank, 0.0), peaks(rank)))
                .collect();
            let mut together = Vec::new();
            let mut seen = Vec::new();
            let groups = ranks
                .iter()
                .flat_map(|(rows, _)| rows)
                .map(|row| row.group as usize + 1);
            let groups = groups.max().unwrap_or_default();
            let mut total = estimator.sums(groups);
            for (rows, peaks) in &ranks {
                let observed = match estimator.per_token() {
                    true => peaks.clone(),
                    false => estimator.observe(&Batch {
                        rows,
                        tokens: Tokens::default(),
                    }),
                };
                let mut sums = estimator.sums(groups);
                estimator.accumulate(&mut sums, rows, &observed);
                total
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(total, sum)| *total += sum);
                together.extend(rows.iter().copied());
                seen.extend(observed);
            }
            point = estimator.finish(&total, &mut memory);
            point = estimator.assign(&point, &total, &mut together, &seen);
            given = together.iter().map(|row| row.z0).collect();
        }
        let expected = ["raw", "value", "clamped"].map(|key| number(&case["point"][key]));
        // sums of log-ratios of both signs owe the digits of the terms
        let ours = [point.raw, point.value, point.clamped];
        close(&mut wrong, name, &ours, &expected, 1.0);
        assert_eq!(case["rows"].is_array(), estimator.per_row(), "{name}");
        match case["rows"].is_array() {
            true => close(&mut wrong, name, &given, &numbers(&case["rows"]), 1.0),
            false => close(
                &mut wrong,
                name,
                &given,
                &vec![expected[1]; given.len()],
                1.0,
            ),
        };
    }
    together(&wrong);
}

fn peaks(rows: &serde_json::Value) -> Vec<f64> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["peak"].as_f64().unwrap_or(f64::NAN))
        .collect()
}

#[test]
fn advantages_are_golden() {
    let (mut wrong, file) = (Vec::new(), read("advantage.json"));
    for case in file["cases"].as_array().unwrap() {
        let mut rows = rows(&case["rows"], 0.0);
        advantage::assign(
            Advantage::new(case["kind"].as_str().unwrap()).unwrap(),
            &mut rows,
        );
        let ours: Vec<f64> = rows.iter().map(|row| row.advantage).collect();
        let scale = rows.iter().map(|row| row.score.abs()).fold(1.0, f64::max);
        let name = case["name"].as_str().unwrap();
        close(
            &mut wrong,
            name,
            &ours,
            &numbers(&case["advantages"]),
            scale,
        );
    }
    together(&wrong);
}

#[test]
fn bounds_are_where_a_bisection_finds_them() {
    let (mut wrong, file) = (Vec::new(), read("saturation.json"));
    for case in file["cases"].as_array().unwrap() {
        let loss = match Loss::new(case["loss"].as_str().unwrap(), &params(&case["params"])) {
            Ok(loss) => loss,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let bounds = saturation::bounds(&loss, number(&case["tolerance"])).unwrap();
        let smoothed = case["optimum"].is_number();
        for (what, ours) in [
            ("learnt", bounds.learnt),
            ("given_up", bounds.given_up),
            ("max_slope", bounds.max_slope),
        ] {
            // the script looks up to a million nats; a bound beyond is as good as none
            let ours = ours.filter(|bound| bound.abs() < 1e6);
            let good = match (ours, case[what].as_f64()) {
                (Some(ours), Some(expected)) => (ours / expected - 1.0).abs() < 1e-10,
                // no closed form
                (None, Some(_)) if what == "max_slope" && smoothed => true,
                (ours, expected) => ours == expected,
            };
            if !good {
                wrong.push(format!("{what} {ours:?}: {case}"));
            }
        }
    }
    together(&wrong);
}

#[test]
fn class_weights_are_golden() {
    let (mut wrong, file) = (Vec::new(), read("weighting.json"));
    for case in file["cases"].as_array().unwrap() {
        let count = |key: &str| case[key].as_u64().unwrap();
        let target = number(&case["target"]);
        let weights = from_counts(count("desirable"), count("undesirable"), target).unwrap();
        let expected = ["desirable", "undesirable"].map(|key| number(&case["weights"][key]));
        let ours = [weights.desirable, weights.undesirable];
        close(&mut wrong, &case.to_string(), &ours, &expected, 0.0);
    }
    together(&wrong);
}

#[test]
fn every_golden_file_belongs_to_a_loss_or_is_about_something() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".json").filter(|stem| *stem != ELSEWHERE) else {
            continue;
        };
        if find(stem).is_err() && !read(&name)["about"].is_string() {
            wrong.push(format!("{name} is of no loss in the registry"));
        }
    }
    together(&wrong);
}
