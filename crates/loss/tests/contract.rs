//! What every loss of the registry promises of what it reads. A new loss is tested here without a line from its author.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no result of the library"
)]

#[path = "support/plans.rs"]
mod plans;

use halo_loss::{
    Batch, Blocks, DataShape, Loss, Need, Normalizer, ParamKind, ParamSpec, ParamValue, Params,
    Point, Source, TokenColumns, evaluate, registry,
};
use plans::{
    Column, Data, NO_TOKENS, OLD, REFERENCE, configurations, data, every_configuration, mismatched,
    number_in, prepared, step, token_slopes, words,
};

#[test]
fn a_loss_depends_on_the_reference_exactly_if_it_needs_it() {
    depends_exactly_if_it_needs(Need::Reference, REFERENCE);
}

#[test]
fn a_loss_depends_on_the_sampling_policy_exactly_if_it_needs_it() {
    depends_exactly_if_it_needs(Need::OldLogps, OLD);
}

/// Changed, the column changes the step; where it is not needed, it may even be absent.
fn depends_exactly_if_it_needs(need: Need, column: Column) {
    every_configuration(|loss| {
        let before = step(loss, &data(), &mismatched());
        let after = step(loss, &data().shifted(column), &mismatched().shifted(column));
        assert_eq!(before != after, loss.needs(need), "{loss}");
        if !loss.needs(need) {
            let absent = step(loss, &data().without(column), &mismatched().without(column));
            assert_eq!(before, absent, "{loss}");
        }
    });
}

#[test]
fn a_loss_depends_on_lengths_exactly_if_it_needs_them() {
    // tokens of probability 1: sums stay
    let longer = |data: Data| data.with(|_, row| row.tokens += 5);
    every_configuration(|loss| {
        if loss.needs(Need::TokenLogps) {
            return; // who reads the tokens reads how many
        }
        let before = step(loss, &data(), &mismatched());
        let after = step(loss, &longer(data()), &longer(mismatched()));
        assert_eq!(before != after, loss.needs(Need::Lengths), "{loss}");
    });
}

#[test]
fn a_loss_depends_on_tokens_exactly_if_it_needs_them() {
    // the rows' sums stay
    let other = |mut data: Data| {
        for row in 0..data.rows.len() {
            let span = data.span(row);
            for (token, step) in [(span.start, -2.5), (span.end - 1, 2.5)] {
                data.columns.logps[token] += step;
                data.columns.log_collisions[token] -= step.abs() / 4.0;
            }
        }
        data
    };
    every_configuration(|loss| {
        let before = step(loss, &data(), &mismatched());
        if loss.needs(Need::TokenLogps) {
            let after = step(loss, &other(data()), &other(mismatched()));
            assert_ne!(before, after, "{loss}");
            let rows = &data().rows;
            let batch = Batch {
                rows,
                tokens: NO_TOKENS,
            };
            let error = evaluate(loss, batch, &Normalizer::of(loss, rows)).unwrap_err();
            assert_eq!(error.argument(), Some("tokens"), "{loss}: {error}");
        } else {
            let absent = |data: Data| Data {
                columns: TokenColumns::default(),
                ..data
            };
            let after = step(loss, &absent(data()), &absent(mismatched()));
            assert_eq!(before, after, "{loss}");
            assert!(!loss.per_token(), "{loss}");
        }
    });
}

#[test]
fn a_loss_depends_on_the_vocabulary_exactly_if_it_needs_it() {
    every_configuration(|loss| {
        let before = step(loss, &data(), &mismatched());
        let mut other = data();
        let columns = &mut other.columns.log_collisions;
        columns.iter_mut().for_each(|x| *x -= 0.5);
        let after = step(loss, &other, &mismatched());
        assert_eq!(before != after, loss.needs(Need::VocabStats), "{loss}");
        if !loss.needs(Need::VocabStats) {
            other.columns.log_collisions.clear();
            assert_eq!(before, step(loss, &other, &mismatched()), "{loss}");
        }
    });
}

#[test]
fn a_loss_depends_on_advantages_exactly_if_it_needs_them() {
    every_configuration(|loss| {
        let needs = loss.needs(Need::Advantages);
        assert_eq!(needs, loss.advantage().is_some(), "{loss}");
        let (_, here) = prepared(loss, &data(), &mismatched());
        let before = here.evaluate(loss).unwrap();
        let other = here.with(|index, row| row.advantage += 0.25 + index as f64);
        assert_eq!(before != other.evaluate(loss).unwrap(), needs, "{loss}");
        if !needs {
            let absent = here.with(|_, row| row.advantage = f64::NAN);
            assert_eq!(before, absent.evaluate(loss).unwrap(), "{loss}");
        }
    });
}

/// Advantages are made of scores before the loss; the loss itself reads them only if it says so.
#[test]
fn a_loss_reads_scores_only_if_it_needs_them() {
    every_configuration(|loss| {
        let (_, here) = prepared(loss, &data(), &mismatched());
        if !loss.needs(Need::Scores) {
            let absent = here.with(|_, row| row.score = f64::NAN);
            let before = here.evaluate(loss).unwrap();
            assert_eq!(before, absent.evaluate(loss).unwrap(), "{loss}");
        }
        let Some(advantage) = loss.advantage() else {
            return;
        };
        let other = data().with(|index, row| row.score += index as f64);
        let felt = step(loss, &data(), &mismatched()) != step(loss, &other, &mismatched());
        assert_eq!(felt, advantage.needs_scores(), "{loss}");
    });
}

#[test]
fn a_loss_depends_on_a_reference_point_exactly_if_it_has_one() {
    every_configuration(|loss| {
        let at = |z0| {
            let at = data().with(|index, row| {
                row.z0 = z0;
                row.advantage = index as f64;
            });
            at.evaluate(loss).unwrap()
        };
        let estimator = loss.reference_point();
        let estimated = estimator.is_some_and(|e| e.source() != Source::None);
        assert_eq!(estimated, loss.needs(Need::ReferencePoint), "{loss}");
        assert_eq!(at(0.25) != at(1.5), estimated, "{loss}");
        let (point, here) = prepared(loss, &data(), &mismatched());
        if !estimated {
            assert_eq!(point, Point::default(), "{loss}");
            assert!(here.rows.iter().all(|row| row.z0 == 0.0), "{loss}");
        }
    });
}

#[test]
fn an_estimator_sees_the_rows_that_it_says() {
    let own = data().shifted(plans::POLICY);
    let twins = mismatched().shifted(plans::POLICY);
    every_configuration(|loss| {
        let Some(estimator) = loss.reference_point() else {
            return;
        };
        let point = |data: &Data, twins: &Data| prepared(loss, data, twins).0;
        let before = point(&data(), &mismatched());
        let by_own = before != point(&own, &mismatched());
        let by_twins = before != point(&data(), &twins);
        let expected = match estimator.source() {
            Source::None => (false, false),
            Source::Matched => (true, false),
            Source::Mismatched => (false, true),
        };
        assert_eq!((by_own, by_twins), expected, "{loss}");
    });
}

#[test]
fn labels_are_read_where_the_shape_has_them() {
    every_configuration(|loss| {
        let turned = |data: Data| data.with(|_, row| row.label = row.label.opposite());
        match loss.data_shape() {
            DataShape::Paired => {
                let error = turned(data()).evaluate(loss).unwrap_err();
                assert_eq!(error.row(), Some(0), "{loss}");
            }
            DataShape::Unpaired if !only_in_the_prompt(loss) => {
                let before = step(loss, &data(), &mismatched());
                let after = step(loss, &turned(data()), &mismatched());
                assert_ne!(before.1, after.1, "{loss}");
            }
            _ => {
                let (_, here) = prepared(loss, &data(), &mismatched());
                let after = turned(here.clone()).evaluate(loss).unwrap();
                assert_eq!(after, here.evaluate(loss).unwrap(), "{loss}");
            }
        }
    });
}

/// Control tokens say in the prompt what the label says: the loss does not look at it again.
fn only_in_the_prompt(loss: &Loss) -> bool {
    loss.needs(Need::ControlTokens)
}

#[test]
fn every_parameter_has_an_effect() {
    let mut wrong = Vec::new();
    for spec in registry() {
        let losses = configurations(spec);
        let before: Vec<_> = losses
            .iter()
            .map(|loss| step(loss, &data(), &mismatched()))
            .collect();
        for param in spec.all_params() {
            for other in others(param) {
                let felt = losses.iter().zip(&before).any(|(loss, before)| {
                    let changed = loss.with(param.name, other.clone());
                    changed.is_ok_and(|changed| step(&changed, &data(), &mismatched()) != *before)
                });
                if !felt {
                    wrong.push(format!("{}: {} = {other}", spec.name, param.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "change nothing:\n{}", wrong.join("\n"));
}

/// Some values of a parameter that are not all its default; of numbers none is.
fn others(param: &ParamSpec) -> Vec<ParamValue> {
    let number = |unit: &f64| number_in(param.kind, *unit).map(ParamValue::Number);
    let ParamKind::Number { .. } = param.kind else {
        return words(param);
    };
    let numbers = [0.4, 0.6, 0.7].iter().filter_map(number);
    numbers.filter(|x| *x != param.default()).take(2).collect()
}

#[test]
fn no_modifier_brings_a_parameter_that_the_loss_has() {
    for spec in registry() {
        let names: Vec<&str> = spec.all_params().map(|param| param.name).collect();
        for (index, name) in names.iter().enumerate() {
            let twice = names[..index].contains(name);
            assert!(!twice, "{}: {name} stands twice", spec.name);
            assert_ne!(*name, halo_loss::COMPAT, "{}", spec.name);
        }
    }
}

#[test]
fn modifiers_are_off_unless_they_are_set() {
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).unwrap();
        let before = step(&loss, &data(), &mismatched());
        for modifier in spec.modifiers {
            let main = &modifier.params[0];
            for param in &modifier.params[1..] {
                for other in others(param) {
                    let changed = loss.with(param.name, other.clone()).unwrap();
                    let after = step(&changed, &data(), &mismatched());
                    assert_eq!(after, before, "{changed}: {} is off", main.name);
                }
            }
        }
        assert_eq!(before.1.inside, None, "{loss}");
    }
}

#[test]
fn a_preset_is_a_set_of_parameters_and_explicit_ones_win() {
    for spec in registry() {
        for preset in spec.presets {
            let mut by_name = Params::new();
            by_name.set(halo_loss::COMPAT, preset.name);
            let loss = Loss::new(spec.name, &by_name).unwrap();
            let mut by_value = Params::new();
            for (key, value) in preset.values {
                by_value.set(key, *value);
            }
            assert_eq!(loss, Loss::new(spec.name, &by_value).unwrap(), "{loss}");
            assert!(loss.params().get(halo_loss::COMPAT).is_none(), "{loss}");
            let plain = Loss::new(spec.name, &Params::new()).unwrap();
            assert_ne!(loss, plain, "{}: a preset of nothing", spec.name);
            for (key, _) in preset.values {
                let default = spec.param(key).unwrap().default();
                let mut both = by_name.clone();
                both.set(key, default.clone());
                let explicit = Loss::new(spec.name, &both).unwrap();
                assert_eq!(explicit.params().get(key), Some(&default), "{explicit}");
            }
            // what was resolved stays resolved when a parameter changes
            for param in spec.all_params() {
                let again = loss.with(param.name, loss.params().get(param.name).unwrap().clone());
                assert_eq!(again.unwrap(), loss);
            }
        }
        let mut unknown = Params::new();
        unknown.set(halo_loss::COMPAT, "nobody");
        let error = Loss::new(spec.name, &unknown).unwrap_err();
        assert_eq!(error.argument(), Some(halo_loss::COMPAT), "{error}");
    }
}

#[test]
fn micro_batches_add_up_to_the_big_batch() {
    every_configuration(|loss| {
        if loss.couples() {
            return;
        }
        let (_, here) = prepared(loss, &data(), &mismatched());
        let normalizer = Normalizer::of(loss, &here.rows);
        let whole = here.evaluate(loss).unwrap();
        let part = |first| here.part(first..first + 2).evaluate_as(loss, &normalizer);
        let parts: Vec<_> = (0..here.rows.len())
            .step_by(2)
            .map(|first| part(first).unwrap())
            .collect();
        let joined = |of: fn(&halo_loss::Evaluation) -> &Vec<f64>| -> Vec<f64> {
            parts.iter().flat_map(|part| of(part).clone()).collect()
        };
        assert_eq!(joined(|part| &part.dlogps), whole.dlogps, "{loss}");
        assert_eq!(
            joined(|part| &part.token_dlogps),
            whole.token_dlogps,
            "{loss}"
        );
        assert_eq!(joined(|part| &part.values), whole.values, "{loss}");
        assert_eq!(joined(|part| &part.rewards), whole.rewards, "{loss}");
        let clipped: usize = parts.iter().map(|part| part.clipped).sum();
        assert_eq!(clipped, whole.clipped, "{loss}");
        let sum: f64 = parts.iter().map(|part| part.loss).sum();
        let scale: f64 = whole.values.iter().map(|value| value.abs()).sum();
        let scale = scale / normalizer.units.min(normalizer.tokens);
        assert!(
            (sum - whole.loss).abs() <= 1e-15 * scale,
            "{loss}: sums in another order"
        );
    });
}

/// Units of a coupled loss know each other: the order of the pairs does not matter, but all must be there.
#[test]
fn coupled_losses_do_not_depend_on_the_order_of_the_pairs() {
    every_configuration(|loss| {
        if !loss.couples() {
            return;
        }
        let whole = data().evaluate(loss).unwrap();
        let order = [4, 5, 0, 1, 6, 7, 2, 3];
        let moved = data().ordered(&order);
        let turned = moved.evaluate(loss).unwrap();
        let slopes = token_slopes(loss, &data(), &whole);
        let expected: Vec<f64> = order
            .iter()
            .flat_map(|&row| slopes[data().span(row)].to_vec())
            .collect();
        assert_eq!(token_slopes(loss, &moved, &turned), expected, "{loss}");
        assert!((turned.loss / whole.loss - 1.0).abs() < 1e-14, "{loss}");
    });
}

#[test]
fn results_have_the_shape_of_the_rows() {
    every_configuration(|loss| {
        let (_, here) = prepared(loss, &data(), &mismatched());
        let result = here.evaluate(loss).unwrap();
        let rows = here.rows.len();
        let tokens: usize = here.rows.iter().map(|row| row.tokens as usize).sum();
        let slopes = match loss.per_token() {
            true => (0, tokens),
            false => (rows, 0),
        };
        let ours = (result.dlogps.len(), result.token_dlogps.len());
        assert_eq!(ours, slopes, "{loss}");
        assert_eq!(result.values.len(), rows / loss.rows_per_unit(), "{loss}");
        assert_eq!(
            (result.rewards.len(), result.zones.len()),
            (rows, rows),
            "{loss}"
        );
    });
}

#[test]
fn no_rows_give_nothing() {
    every_configuration(|loss| {
        let none = evaluate(loss, &[], &Normalizer::default()).unwrap();
        assert_eq!(none.loss, 0.0);
        assert!(
            none.dlogps.is_empty() && none.token_dlogps.is_empty(),
            "{loss}"
        );
        assert!(none.values.is_empty() && none.zones.is_empty(), "{loss}");
    });
}

/// In blocks of two rows and of six, against the whole.
#[test]
fn blocks_give_the_numbers_of_the_whole_to_the_bit() {
    let streamed = std::cell::Cell::new(0);
    every_configuration(|loss| {
        let (_, data) = prepared(loss, &data(), &mismatched());
        let norm = Normalizer::of(loss, &data.rows);
        let Some(blocks) = Blocks::new(loss, &norm).unwrap() else {
            let ruled = loss
                .param("wpo")
                .is_some_and(|wpo| *wpo != ParamValue::parse("off"));
            assert!(
                loss.couples() || loss.needs(Need::TokenLogps) || ruled,
                "{loss}"
            );
            return;
        };
        let whole = data.evaluate_as(loss, &norm).unwrap();
        for size in [2, 6] {
            let (mut values, mut slopes) = (Vec::new(), Vec::new());
            let (mut all_values, mut all_slopes) = (Vec::new(), Vec::new());
            for block in data.rows.chunks(size) {
                blocks.block(block, &mut values, &mut slopes).unwrap();
                all_values.extend_from_slice(&values);
                all_slopes.extend_from_slice(&slopes);
            }
            assert_eq!(
                (&all_values, &all_slopes),
                (&whole.values, &whole.dlogps),
                "{loss}"
            );
            let sum: f64 = all_values.iter().sum();
            assert_eq!(sum / blocks.divisor(), whole.loss, "{loss}");
        }
        streamed.set(streamed.get() + 1);
    });
    let streamed = streamed.get();
    assert!(
        streamed > registry().len(),
        "only {streamed} configurations came in blocks"
    );
}
