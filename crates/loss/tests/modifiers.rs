//! What modifiers do, as identities.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no result of the library"
)]

#[path = "support/plans.rs"]
mod plans;

use halo_loss::{Evaluation, Label, Loss, Need, Normalizer, Params, Source, evaluate, registry};
use plans::{Data, data, finite, mismatched, prepared, step, token_slopes};

fn loss(name: &str, assignments: &[&str]) -> Loss {
    let mut params = Params::new();
    for assignment in assignments {
        params.parse(assignment).unwrap();
    }
    Loss::new(name, &params).unwrap()
}

fn near(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-13 * (b.abs() + scale)
}

fn assert_near(what: &Loss, ours: &[f64], expected: &[f64], scale: f64) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    for (ours, expected) in ours.iter().zip(expected) {
        assert!(near(*ours, *expected, scale), "{what}: {ours}, {expected}");
    }
}

/// Every loss with the modifier of that name, at its defaults.
fn with_modifier(name: &str) -> impl Iterator<Item = Loss> {
    let fits =
        |spec: &&&halo_loss::Spec| spec.modifiers.iter().any(|modifier| modifier.name == name);
    let losses: Vec<Loss> = registry()
        .iter()
        .filter(fits)
        .map(|spec| loss(spec.name, &[]))
        .collect();
    assert!(!losses.is_empty(), "{name}");
    losses.into_iter()
}

// ---------------------------------------------------------------- label_smoothing

/// Mitchell's conservative DPO: (1 − ε)·−ln σ(βΔ) + ε·−ln σ(−βΔ).
#[test]
fn smoothed_dpo_is_the_conservative_one() {
    let smooth = loss("dpo", &["label_smoothing=0.2"]);
    let result = data().evaluate(&smooth).unwrap();
    for (pair, value) in data().rows.as_chunks::<2>().0.iter().zip(&result.values) {
        let [w, l] = pair.map(|row| row.logp - row.ref_logp);
        let softplus = |x: f64| x.exp().ln_1p();
        let margin = 0.1 * (w - l);
        let expected = 0.8 * softplus(-margin) + 0.2 * softplus(margin);
        assert!(near(*value, expected, 0.0), "{value}, {expected}");
    }
}

/// At one half, a pair says nothing of which is better: the gradient of the rows' exchange is the exchange of the gradients.
#[test]
fn labels_smoothed_by_half_do_not_matter() {
    for plain in with_modifier("label_smoothing") {
        let half = plain.with("label_smoothing", 0.5).unwrap();
        let (_, here) = prepared(&half, &data(), &mismatched());
        let mut turned = here.clone();
        match half.rows_per_unit() {
            2 => turned
                .rows
                .as_chunks_mut::<2>()
                .0
                .iter_mut()
                .for_each(|pair| {
                    pair.swap(0, 1);
                    pair.iter_mut()
                        .for_each(|row| row.label = row.label.opposite());
                }),
            _ => turned
                .rows
                .iter_mut()
                .for_each(|row| row.label = row.label.opposite()),
        }
        if half.per_token() || half.couples() || reads_more_than_roles(&half) {
            continue;
        }
        let (ours, expected) = (
            turned.evaluate(&half).unwrap(),
            here.evaluate(&half).unwrap(),
        );
        assert_near(&half, &ours.values, &expected.values, 0.0);
    }
}

/// A likelihood of the wanted rows stays with them, whatever is believed of the labels.
fn reads_more_than_roles(loss: &Loss) -> bool {
    let likelihood = |value: &halo_loss::ParamValue| *value != 0.0.into();
    loss.param("nll_weight").is_some_and(likelihood)
}

#[test]
fn smoothing_is_the_mean_of_the_loss_and_its_opposite() {
    for plain in with_modifier("label_smoothing") {
        if reads_more_than_roles(&plain) || plain.couples() {
            continue;
        }
        let (_, here) = prepared(&plain, &data(), &mismatched());
        let at = |share: f64| {
            let smooth = plain.with("label_smoothing", share).unwrap();
            here.evaluate(&smooth).unwrap()
        };
        // linear in the share
        let (none, some, more) = (at(0.0), at(0.125), at(0.25));
        for ((none, some), more) in none.values.iter().zip(&some.values).zip(&more.values) {
            let scale = none.abs() + more.abs();
            assert!(
                near(2.0 * some, none + more, 4.0 * scale),
                "{plain}: {none} {some} {more}"
            );
        }
        assert_eq!(none.rewards, more.rewards, "{plain}");
    }
}

// ---------------------------------------------------------------- f_divergence

/// g(r) − g(0) has slope 1 at r = 0 for the forward and the reverse KL and α, ½ for Jensen–Shannon.
#[test]
fn divergences_agree_to_first_order_where_policy_and_reference_do() {
    let equal = data().with(|_, row| row.logp = row.ref_logp);
    for plain in with_modifier("f_divergence") {
        // a likelihood is of no ratio
        let plain = plain.with("nll_weight", 0.0).unwrap_or(plain);
        let base = equal.evaluate(&plain).unwrap();
        for (word, slope) in [
            ("reverse_kl", 1.0),
            ("forward_kl", 1.0),
            ("js", 0.5),
            ("alpha", 1.0),
        ] {
            let other = plain.with("f_divergence", word).unwrap();
            let ours = equal.evaluate(&other).unwrap();
            let expected: Vec<f64> = base.dlogps.iter().map(|base| slope * base).collect();
            assert_near(&other, &ours.values, &base.values, 0.0);
            assert_near(&other, &ours.dlogps, &expected, 0.0);
        }
    }
}

#[test]
fn alpha_meets_the_other_divergences() {
    for plain in with_modifier("f_divergence") {
        let plain = plain.with("f_divergence", "alpha").unwrap();
        let at = |order: f64| {
            data()
                .evaluate(&plain.with("f_alpha", order).unwrap())
                .unwrap()
        };
        let named = |word: &str| {
            data()
                .evaluate(&plain.with("f_divergence", word).unwrap())
                .unwrap()
        };
        assert_eq!(at(1.0).values, named("reverse_kl").values, "{plain}");
        // (e^(-r) - 1) / -1
        let (ours, expected) = (at(0.0), named("forward_kl"));
        assert_near(&plain, &ours.values, &expected.values, 0.0);
        assert_near(&plain, &ours.dlogps, &expected.dlogps, 1e-12);
    }
}

#[test]
fn capped_exponents_are_counted() {
    let far = data().with(|index, row| {
        row.logp = row.ref_logp + if index == 0 { -81.0 } else { 1.0 };
    });
    let forward = loss("dpo", &["f_divergence=forward_kl"]);
    assert_eq!(far.evaluate(&forward).unwrap().clipped, 1);
    assert_eq!(far.evaluate(&loss("dpo", &[])).unwrap().clipped, 0);
}

// ---------------------------------------------------------------- length_average, nll_weight

#[test]
fn an_average_over_lengths_is_the_loss_of_rows_of_one_token() {
    for plain in with_modifier("length_average") {
        let average = plain.with("length_average", true).unwrap();
        assert!(average.needs(Need::Lengths), "{average}");
        if reads_more_than_roles(&plain) {
            continue; // a likelihood has its own lengths
        }
        let (_, here) = prepared(&average, &data(), &mismatched());
        let divided = here.with(|_, row| {
            let n = f64::from(row.tokens);
            (row.logp, row.ref_logp) = (row.logp / n, row.ref_logp / n);
        });
        let ours = here.evaluate(&average).unwrap();
        let expected =
            evaluate(&plain, &divided.rows, &Normalizer::of(&plain, &here.rows)).unwrap();
        assert_near(&average, &ours.values, &expected.values, 0.0);
        assert_near(&average, &ours.rewards, &expected.rewards, 1e-12);
    }
}

#[test]
fn a_likelihood_beside_is_added_to_the_wanted_rows() {
    for plain in with_modifier("nll_weight") {
        let (_, here) = prepared(&plain, &data(), &mismatched());
        let beside = plain.with("nll_weight", 0.25).unwrap();
        let (ours, alone) = (
            here.evaluate(&beside).unwrap(),
            here.evaluate(&plain).unwrap(),
        );
        let (slopes, without) = (
            token_slopes(&beside, &here, &ours),
            token_slopes(&plain, &here, &alone),
        );
        let divisor = Normalizer::of(&plain, &here.rows).units;
        for (index, row) in here.rows.iter().enumerate() {
            let wanted = f64::from(row.label == Label::Desirable);
            let expected = -0.25 * wanted / f64::from(row.tokens) / divisor;
            for token in here.span(index) {
                let added = slopes[token] - without[token];
                assert!(
                    (added - expected).abs() < 1e-12,
                    "{beside}: row {index}: {added}"
                );
            }
        }
        assert_eq!(ours.rewards, alone.rewards, "{beside}");
    }
}

/// Modifiers of the log-ratio leave the likelihood alone, whether it is the loss's own or beside it.
#[test]
fn a_likelihood_is_the_answers_whatever_becomes_of_its_ratio() {
    let shapes: [&[(&str, halo_loss::ParamValue)]; 5] = [
        &[],
        &[("f_divergence", "forward_kl".into())],
        &[("f_divergence", "js".into())],
        &[("f_divergence", "alpha".into())],
        &[("length_average", true.into())],
    ];
    for spec in registry() {
        let plain = loss(spec.name, &[]);
        if plain.param("nll_weight").is_none() || plain.couples() {
            continue;
        }
        let (_, here) = prepared(&plain, &data(), &mismatched());
        // what a weight of 1 adds to each unit and to each row's slope, and the numbers that it is the difference of
        let added = |shape: &[(&str, halo_loss::ParamValue)]| -> Option<Vec<(f64, f64)>> {
            let base = shape.iter().try_fold(plain.clone(), |loss, (key, value)| {
                loss.with(key, value.clone()).ok()
            })?;
            let numbers = |weight: f64| {
                let result = here
                    .evaluate(&base.with("nll_weight", weight).unwrap())
                    .unwrap();
                [result.values, result.dlogps].concat()
            };
            let both = numbers(1.0).into_iter().zip(numbers(0.0));
            Some(
                both.map(|(with, without)| (with - without, without.abs()))
                    .collect(),
            )
        };
        let expected = added(shapes[0]).unwrap();
        assert!(expected.iter().any(|(x, _)| *x != 0.0), "{}", spec.name);
        for shape in shapes {
            let Some(ours) = added(shape) else { continue };
            for ((ours, scale), (expected, small)) in ours.iter().zip(&expected) {
                assert!(
                    near(*ours, *expected, scale + small),
                    "{} {shape:?}: {ours}, {expected}",
                    spec.name
                );
            }
        }
    }
}

// ---------------------------------------------------------------- ld_alpha

#[test]
fn every_token_at_full_weight_changes_nothing() {
    for plain in with_modifier("ld_alpha") {
        let one = plain.with("ld_alpha", 1.0).unwrap();
        assert!(
            !one.needs(Need::TokenLogps) || plain.needs(Need::TokenLogps),
            "{one}"
        );
        assert_eq!(
            data().evaluate(&one).unwrap(),
            data().evaluate(&plain).unwrap()
        );
    }
}

/// Without weight, what lies beyond the shorter answer does not exist.
#[test]
fn tokens_without_weight_are_not_there() {
    for plain in with_modifier("ld_alpha") {
        if plain.needs(Need::Lengths) || plain.couples() {
            continue; // lengths stay those of the whole answers
        }
        let none = plain.with("ld_alpha", 0.0).unwrap();
        let ours = data().evaluate(&none).unwrap();
        let mut short = data();
        for row in 0..short.rows.len() {
            let shared = short.rows[row].tokens.min(short.rows[row ^ 1].tokens) as usize;
            let span = short.span(row);
            let kept = span.start..span.start + shared;
            short.rows[row].logp = short.columns.logps[kept.clone()].iter().sum();
            short.rows[row].ref_logp = short.columns.ref_logps[kept].iter().sum();
        }
        let expected = short.evaluate(&plain).unwrap();
        assert_near(&none, &ours.values, &expected.values, 1e-3);
        for row in 0..short.rows.len() {
            let shared = short.rows[row].tokens.min(short.rows[row ^ 1].tokens) as usize;
            for (t, token) in short.span(row).enumerate() {
                let slope = if t < shared {
                    expected.dlogps[row]
                } else {
                    0.0
                };
                let ours = ours.token_dlogps[token];
                assert!(near(ours, slope, 1e-3), "{none}: {ours}, {slope}");
            }
        }
    }
}

// ---------------------------------------------------------------- wpo

/// A pair's weight multiplies value and gradient, and is not differentiated.
#[test]
fn pairs_weigh_what_the_policy_says_of_them() {
    for plain in with_modifier("wpo") {
        if plain.couples() {
            continue;
        }
        let alone = data().evaluate(&plain).unwrap();
        for word in ["plain", "exact"] {
            let weighed = plain.with("wpo", word).unwrap();
            let ours = data().evaluate(&weighed).unwrap();
            for pair in 0..4 {
                let weight = (mean(2 * pair, word) + mean(2 * pair + 1, word)).exp();
                let expected = weight * alone.values[pair];
                assert!(
                    near(ours.values[pair], expected, 0.0),
                    "{weighed}: pair {pair}"
                );
                for row in [2 * pair, 2 * pair + 1] {
                    let expected = weight * alone.dlogps[row];
                    assert!(
                        near(ours.dlogps[row], expected, 0.0),
                        "{weighed}: row {row}"
                    );
                }
            }
            assert_eq!(ours.rewards, alone.rewards, "{weighed}");
        }
    }
}

fn mean(row: usize, word: &str) -> f64 {
    let data = data();
    let collisions: f64 = data.columns.log_collisions[data.span(row)].iter().sum();
    let sum = match word {
        "exact" => data.rows[row].logp - collisions,
        _ => data.rows[row].logp,
    };
    sum / f64::from(data.rows[row].tokens)
}

#[test]
fn a_plain_weight_is_at_most_one() {
    let weighed = loss("dpo", &["wpo=plain"]);
    let rows = data().with(|_, row| {
        let ratio = row.logp - row.ref_logp;
        (row.logp, row.ref_logp) = (1.0 + ratio, 1.0);
    });
    let likely = rows.part(0..2);
    let ours = likely.evaluate(&weighed).unwrap();
    let capped = likely
        .rows
        .iter()
        .map(|row| row.logp / f64::from(row.tokens))
        .sum::<f64>()
        > 0.0;
    let alone = likely.evaluate(&loss("dpo", &[])).unwrap();
    assert!(capped && ours.values == alone.values);
}

// ---------------------------------------------------------------- humanline

#[test]
fn a_range_that_holds_every_token_changes_nothing() {
    for plain in with_modifier("humanline") {
        let wide = wide(&plain);
        let (_, here) = prepared(&plain, &data(), &mismatched());
        let (ours, alone) = (
            here.evaluate(&wide).unwrap(),
            here.evaluate(&plain).unwrap(),
        );
        assert_near(&wide, &ours.values, &alone.values, 0.0);
        assert_near(&wide, &ours.rewards, &alone.rewards, 0.0);
        let ours = (token_slopes(&wide, &here, &ours), ours.inside);
        assert_near(&wide, &ours.0, &token_slopes(&plain, &here, &alone), 0.0);
        assert_eq!(ours.1, Some(here.columns.logps.len()), "{wide}");
    }
}

fn wide(plain: &Loss) -> Loss {
    let on = plain.with("humanline", true).unwrap();
    let low = on.with("humanline_low", -80.0).unwrap();
    low.with("humanline_high", 80.0).unwrap()
}

/// The same loss on tokens that were clamped beforehand, where the clamp lets gradients through.
#[test]
fn tokens_are_clamped_before_anything_else() {
    for plain in with_modifier("humanline") {
        let human = plain.with("humanline", true).unwrap();
        assert!(
            human.per_token() && human.needs(Need::TokenLogps),
            "{human}"
        );
        let (_, here) = prepared(&human, &data(), &mismatched());
        let base: fn(&Data) -> &Vec<f64> = match human.needs(Need::OldLogps) {
            true => |data| &data.columns.old_logps,
            false => |data| &data.columns.ref_logps,
        };
        let ratio = |token: usize| here.columns.logps[token] - base(&here)[token];
        let within = |token: &usize| (-1.0..=1.5).contains(&ratio(*token));
        let ours = here.evaluate(&human).unwrap();
        let tokens = 0..here.columns.logps.len();
        let inside = tokens
            .clone()
            .filter(|t| ratio(*t) > -1.0 && ratio(*t) < 1.5);
        assert_eq!(ours.inside, Some(inside.count()), "{human}");
        let clamped = clamped(&here, base, -1.0, 1.5);
        let alone = clamped.evaluate(&plain).unwrap();
        let expected = token_slopes(&plain, &clamped, &alone);
        if reads_policy_twice(&plain) {
            continue;
        }
        assert_near(&human, &ours.values, &alone.values, 0.0);
        for token in tokens {
            let slope = if within(&token) { expected[token] } else { 0.0 };
            let ours = ours.token_dlogps[token];
            assert!(
                near(ours, slope, 1e-12),
                "{human}: token {token}: {ours}, {slope}"
            );
        }
    }
}

/// Beside the ratio that is clamped, something that is not: a divergence from the reference, or a weighted likelihood.
fn reads_policy_twice(loss: &Loss) -> bool {
    let both = loss.needs(Need::OldLogps) && loss.needs(Need::Reference);
    let drift = ["kl_weight", "kl_beta"]
        .iter()
        .filter_map(|name| loss.param(name));
    both || plans::stops_gradients(loss)
        || reads_more_than_roles(loss)
        || drift.into_iter().any(|weight| *weight != 0.0.into())
}

fn clamped(data: &Data, base: fn(&Data) -> &Vec<f64>, low: f64, high: f64) -> Data {
    let mut moved = data.clone();
    for (token, base) in base(data).iter().enumerate() {
        let ratio = data.columns.logps[token] - base;
        moved.columns.logps[token] = base + ratio.clamp(low, high);
    }
    for row in 0..moved.rows.len() {
        moved.rows[row].logp = moved.columns.logps[moved.span(row)].iter().sum();
    }
    moved
}

/// The mismatched rows of a reference point are perceived within the same limits.
#[test]
fn a_reference_point_sees_clamped_tokens() {
    for plain in with_modifier("humanline") {
        let human = plain.with("humanline", true).unwrap();
        let Some(estimator) = human.reference_point() else {
            continue;
        };
        if estimator.source() == Source::None {
            continue;
        }
        let seen = human.observe(mismatched().view()).unwrap();
        let clamped = clamped(&mismatched(), |data| &data.columns.ref_logps, -1.0, 1.5);
        assert_near(&human, &seen, &plain.observe(clamped.view()).unwrap(), 1e-3);
        assert_ne!(seen, plain.observe(mismatched().view()).unwrap(), "{human}");
        let whole = wide(&plain).observe(mismatched().view()).unwrap();
        assert_near(
            &plain,
            &whole,
            &plain.observe(mismatched().view()).unwrap(),
            1e-3,
        );
    }
}

#[test]
fn without_tokens_humanline_says_what_it_misses() {
    let human = loss("kto", &["humanline=true"]);
    let rows = data().rows;
    let error = evaluate(&human, &rows, &Normalizer::of(&human, &rows)).unwrap_err();
    assert_eq!(error.argument(), Some("tokens"));
    assert_eq!(human.observe(&rows).unwrap_err().argument(), Some("tokens"));
}

// ---------------------------------------------------------------- all at once

/// Whatever is set beside each other works together, but a likelihood of all tokens beside a preference of some.
#[test]
fn modifiers_combine() {
    for spec in registry() {
        let mut all = loss(spec.name, &[]);
        let settings: [(&str, halo_loss::ParamValue); 7] = [
            ("f_divergence", "js".into()),
            ("length_average", true.into()),
            ("label_smoothing", 0.125.into()),
            ("nll_weight", 0.25.into()),
            ("ld_alpha", 0.5.into()),
            ("wpo", "exact".into()),
            ("humanline", true.into()),
        ];
        for (name, value) in settings {
            if spec.modifiers.iter().any(|modifier| modifier.name == name) {
                all = match all.with(name, value) {
                    Ok(with) => with,
                    Err(error) => {
                        let message = error.to_string();
                        assert!(message.contains("nll_weight does not go with"), "{message}");
                        all
                    }
                };
            }
        }
        let (_, result): (_, Evaluation) = step(&all, &data(), &mismatched());
        assert!(finite(&result), "{all}: {result:?}");
    }
}
