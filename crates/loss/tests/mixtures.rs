//! Weighted sums of losses: what they are by hand, and what is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no result of the library"
)]

#[path = "support/plans.rs"]
mod plans;

use halo_loss::{
    DataShape, Error, Evaluation, Label, Loss, Need, Normalizer, Params, Row, Zone, evaluate,
    registry, saturation,
};
use plans::{data, finite, mismatched, prepared, step, token_slopes};

fn loss(name: &str, assignments: &[&str]) -> Result<Loss, Error> {
    let mut params = Params::new();
    for assignment in assignments {
        params.parse(assignment).unwrap();
    }
    Loss::new(name, &params)
}

fn refused(name: &str, assignments: &[&str]) -> String {
    let error = loss(name, assignments).unwrap_err();
    assert!(error.is_parameter() || error.is_name(), "{error}");
    error.to_string()
}

/// The likelihood of the chosen rows alone, and what it is divided by: their tokens, the pairs.
fn by_hand(first: &Evaluation, weight: f64, average: &str) -> (Vec<f64>, f64) {
    let rows = data().rows;
    let chosen: Vec<&Row> = rows.iter().step_by(2).collect();
    let tokens: f64 = chosen.iter().map(|row| f64::from(row.tokens)).sum();
    let of = |row: &Row| {
        let n = f64::from(row.tokens);
        match average {
            "token" => (-row.logp / tokens, -1.0 / tokens),
            "sequence" => (-row.logp / n / 4.0, -1.0 / n / 4.0),
            _ => (-row.logp / 4.0, -1.0 / 4.0),
        }
    };
    let mut slopes = first.dlogps.clone();
    for (index, row) in chosen.iter().enumerate() {
        slopes[2 * index] += weight * of(row).1;
    }
    let likelihood: f64 = chosen.iter().map(|row| of(row).0).sum();
    (slopes, first.loss + weight * likelihood)
}

#[test]
fn a_preference_and_a_likelihood_of_the_chosen_are_their_weighted_sum() {
    let first = data()
        .evaluate(&loss("dpo", &["beta=0.25"]).unwrap())
        .unwrap();
    for average in ["token", "sequence", "sum"] {
        let words = ["dpo.beta=0.25", &format!("sft.average={average}")];
        let sum = loss("dpo + 0.5*sft", &words).unwrap();
        let result = data().evaluate(&sum).unwrap();
        let (slopes, value) = by_hand(&first, 0.5, average);
        assert!(
            (result.loss - value).abs() < 1e-14 * value.abs(),
            "{average}"
        );
        for (ours, expected) in result.dlogps.iter().zip(&slopes) {
            assert!(
                (ours - expected).abs() < 1e-15,
                "{average}: {ours}, {expected}"
            );
        }
        // a value per pair, and their mean is the loss
        assert_eq!(result.values.len(), 4);
        let mean = result.values.iter().sum::<f64>() / 4.0;
        assert!((mean / result.loss - 1.0).abs() < 1e-14, "{average}");
        assert_eq!(
            (&result.rewards, &result.zones),
            (&first.rewards, &first.zones)
        );
    }
}

/// The gradient does not depend on how terms are ordered, nor rewards and zones on which of them stands first.
#[test]
fn terms_may_stand_in_any_order() {
    let mut rows = data();
    rows.add(plans::POLICY, 0, 0, 100.0);
    let one = rows.evaluate(&loss("dpo + 0.5*sft", &[]).unwrap()).unwrap();
    let sum = loss("0.5*sft + dpo", &[]).unwrap();
    let other = rows.evaluate(&sum).unwrap();
    assert_eq!(other.dlogps, one.dlogps);
    assert_eq!(other.values.len(), one.values.len());
    for (a, b) in other.values.iter().zip(&one.values) {
        assert!((a / b - 1.0).abs() < 1e-14);
    }
    assert_eq!((other.rewards, &other.zones), (one.rewards, &one.zones));
    assert_eq!(one.zones[..3], [Zone::Learnt, Zone::Learnt, Zone::Active]);
    let zones = saturation::zones(&sum, rows.view(), saturation::TOLERANCE).unwrap();
    assert_eq!(zones, other.zones, "those of the term that judges");
}

#[test]
fn rows_of_judgements_are_imitated_where_they_are_wanted() {
    let sum = loss("kto + sft", &["kto.reference_point=zero"]).unwrap();
    let kto = data()
        .evaluate(&loss("kto", &["reference_point=zero"]).unwrap())
        .unwrap();
    let result = data().evaluate(&sum).unwrap();
    let tokens: f64 = data()
        .rows
        .iter()
        .step_by(2)
        .map(|row| f64::from(row.tokens))
        .sum();
    for (index, (ours, alone)) in result.dlogps.iter().zip(&kto.dlogps).enumerate() {
        let likelihood = if index % 2 == 0 { -1.0 / tokens } else { 0.0 };
        assert!((ours - alone - likelihood).abs() < 1e-15, "row {index}");
    }
    assert_eq!(result.values.len(), 8);
}

#[test]
fn a_step_without_wanted_rows_imitates_nothing() {
    let rows = data().with(|_, row| row.label = Label::Undesirable);
    let sum = loss("kto + sft", &[]).unwrap();
    let alone = rows.evaluate(&loss("kto", &[]).unwrap()).unwrap();
    let result = rows.evaluate(&sum).unwrap();
    assert_eq!((result.loss, &result.dlogps), (alone.loss, &alone.dlogps));
    assert!(finite(&result));
}

#[test]
fn a_sum_of_one_is_the_loss_and_its_weight_multiplies() {
    let one = loss("2*dpo", &["dpo.beta=0.5"]).unwrap();
    let dpo = loss("dpo", &["beta=0.5"]).unwrap();
    let (ours, alone) = (
        data().evaluate(&one).unwrap(),
        data().evaluate(&dpo).unwrap(),
    );
    assert_eq!(ours.loss, 2.0 * alone.loss);
    let twice: Vec<f64> = alone.dlogps.iter().map(|slope| 2.0 * slope).collect();
    assert_eq!(ours.dlogps, twice);
    assert_eq!((ours.rewards, ours.zones), (alone.rewards, alone.zones));
    for name in ["2*dpo", "1*dpo"] {
        let sum = loss(name, &["dpo.beta=0.5"]).unwrap();
        assert_eq!(sum.name(), name);
        assert_eq!(sum.param("beta"), Some(&0.5.into()));
        assert_eq!(sum, Loss::new(name, sum.params()).unwrap());
    }
}

#[test]
fn a_modifier_of_one_term_leaves_the_others_alone() {
    let sum = loss("dpo + 0.5*sft", &["dpo.humanline=true"]).unwrap();
    assert!(sum.per_token() && sum.needs(Need::TokenLogps));
    let human = loss("dpo", &["humanline=true"]).unwrap();
    let result = data().evaluate(&sum).unwrap();
    assert!(result.dlogps.is_empty());
    let alone = data().evaluate(&human).unwrap();
    assert_eq!(result.inside, alone.inside);
    let tokens: f64 = data()
        .rows
        .iter()
        .step_by(2)
        .map(|row| f64::from(row.tokens))
        .sum();
    let parts = token_slopes(&human, &data(), &alone);
    for row in 0..8 {
        let likelihood = if row % 2 == 0 { -0.5 / tokens } else { 0.0 };
        for token in data().span(row) {
            let (ours, expected) = (result.token_dlogps[token], parts[token] + likelihood);
            assert!(
                (ours - expected).abs() < 1e-15,
                "row {row}: {ours}, {expected}"
            );
        }
    }
}

#[test]
fn names_parameters_and_needs_are_those_of_the_terms() {
    let sum = loss(" dpo+0.5 * sft ", &["sft.average=sequence"]).unwrap();
    assert_eq!(sum.name(), "dpo + 0.5*sft");
    assert_eq!(sum, Loss::new(sum.name(), sum.params()).unwrap());
    assert_eq!(sum.key("average"), "sft.average");
    assert_eq!(
        sum.with("dpo.beta", 0.5).unwrap().param("beta"),
        Some(&0.5.into())
    );
    assert_eq!(sum.data_shape(), DataShape::Paired);
    assert_eq!(sum.rows_per_unit(), 2);
    assert!(sum.needs(Need::Reference) && sum.needs(Need::Lengths));
    assert!(
        sum.to_string().starts_with("dpo + 0.5*sft dpo.beta=0.1, "),
        "{sum}"
    );
}

#[test]
fn a_reference_point_of_one_term_is_the_sums() {
    let sum = loss("0.25*sft + kto", &["kto.reference_point=batch_mean"]).unwrap();
    let estimator = sum.reference_point().unwrap();
    assert_eq!(estimator.name(), "batch_mean");
    let kto = loss("kto", &["reference_point=batch_mean"]).unwrap();
    let (point, ours) = prepared(&sum, &data(), &mismatched());
    assert_eq!((point, ours), prepared(&kto, &data(), &mismatched()));
}

#[test]
fn unknown_parameters_list_the_known_ones() {
    let message = refused("dpo + sft", &["beta=0.5"]);
    assert!(
        message.starts_with("dpo + sft: unknown parameter \"beta\"; known: dpo.beta, "),
        "{message}"
    );
    assert!(message.ends_with("sft.average"), "{message}");
    let message = refused("dpo + sft", &["dpo.average=sum"]);
    assert!(
        message.starts_with("dpo: unknown parameter \"average\"; known: beta, "),
        "{message}"
    );
    assert!(refused("dpo + sft", &["kto.beta=0.5"]).contains("unknown parameter \"kto.beta\""));
    assert_eq!(
        refused("dpo + sft", &["sft.average=tokens"]),
        "sft: average = \"tokens\" is not one of token, sequence, sum"
    );
}

#[test]
fn sums_that_make_no_sense_are_refused() {
    let cases = [
        ("dpo + dpo", "dpo stands twice in the sum"),
        (
            "dpo + kto",
            "dpo + kto: its losses read data of different shapes",
        ),
        (
            "0*dpo + sft",
            "\"0\" in \"0*dpo + sft\" is not a positive weight",
        ),
        (
            "-1*dpo + sft",
            "\"-1\" in \"-1*dpo + sft\" is not a positive weight",
        ),
        (
            "half*dpo",
            "\"half\" in \"half*dpo\" is not a positive weight",
        ),
        ("inf*dpo", "\"inf\" in \"inf*dpo\" is not a positive weight"),
        ("nan*dpo", "\"nan\" in \"nan*dpo\" is not a positive weight"),
    ];
    for (name, message) in cases {
        assert_eq!(refused(name, &[]), message);
    }
    for (name, unknown) in [
        ("dpo + dppo", "dppo"),
        ("dpo +", ""),
        ("+ sft", ""),
        ("2*", ""),
    ] {
        let message = refused(name, &[]);
        assert!(
            message.starts_with(&format!("unknown loss {unknown:?}; known: ")),
            "{message}"
        );
    }
}

/// Only one reference point can stand in the rows.
#[test]
fn two_reference_points_are_refused() {
    let estimating: Vec<&str> = registry()
        .iter()
        .filter(|spec| spec.needs.contains(&Need::ReferencePoint))
        .map(|spec| spec.name)
        .collect();
    for (index, one) in estimating.iter().enumerate() {
        for other in &estimating[..index] {
            let message = refused(&format!("{one} + {other}"), &[]);
            let shapes = message.ends_with("its losses read data of different shapes");
            let points = message.ends_with("two of its losses estimate a reference point; one can");
            assert!(points || shapes, "{message}");
        }
    }
}

/// Every pair of losses sums, or says why not.
#[test]
fn every_two_losses_add_up_or_are_refused() {
    for one in registry() {
        for other in registry() {
            let name = format!("{} + 0.5*{}", one.name, other.name);
            let sum = match loss(&name, &[]) {
                Ok(sum) => sum,
                Err(error) => {
                    assert!(error.is_parameter(), "{error}");
                    continue;
                }
            };
            let (_, result) = step(&sum, &data(), &mismatched());
            assert!(finite(&result), "{name}: {result:?}");
            let rows = data().rows.len();
            assert_eq!(result.values.len(), rows / sum.rows_per_unit(), "{name}");
            assert_eq!(
                (result.rewards.len(), result.zones.len()),
                (rows, rows),
                "{name}"
            );
            let units = result.values.len() as f64;
            let mean = result.values.iter().sum::<f64>() / units;
            assert!(
                (mean - result.loss).abs() <= 1e-13 * result.loss.abs(),
                "{name}"
            );
            let tokens: usize = data().rows.iter().map(|row| row.tokens as usize).sum();
            let slopes = (result.dlogps.len(), result.token_dlogps.len());
            let expected = if sum.per_token() {
                (0, tokens)
            } else {
                (rows, 0)
            };
            assert_eq!(slopes, expected, "{name}");
        }
    }
}

#[test]
fn no_rows_of_a_sum_give_nothing() {
    let sum = loss("dpo + sft", &[]).unwrap();
    let none = evaluate(&sum, &[], &Normalizer::default()).unwrap();
    assert_eq!(
        (none.loss, none.dlogps.len(), none.values.len()),
        (0.0, 0, 0)
    );
    assert_eq!(none.zones, Vec::<Zone>::new());
}
