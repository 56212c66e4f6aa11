//! Random losses and rows.
#![allow(dead_code, reason = "each test file takes what it needs")]

use halo_loss::{Loss, ParamKind, ParamSpec, Row, Spec, TokenColumns};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::plans::{Data, configurations, label, number_in};

/// The same cases at every run.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let algorithm = config.rng_algorithm;
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(algorithm),
    )
}

/// Any configuration, numbers random within what people use.
pub(crate) fn any_loss(spec: &'static Spec) -> impl Strategy<Value = Loss> {
    loss_with(spec, number_in)
}

/// Any configuration, numbers random in their whole range.
pub(crate) fn any_loss_at_all(spec: &'static Spec) -> impl Strategy<Value = Loss> {
    loss_with(spec, |kind, unit| match kind {
        ParamKind::Number { range, .. } if range.low > 0.0 => {
            Some((range.low * (range.high / range.low).powf(unit)).clamp(range.low, range.high))
        }
        ParamKind::Number { range, .. } => Some(range.low + unit * (range.high - range.low)),
        _ => None,
    })
}

fn loss_with(
    spec: &'static Spec,
    number: fn(ParamKind, f64) -> Option<f64>,
) -> impl Strategy<Value = Loss> {
    let units = prop::collection::vec(0.0..=1.0_f64, 32);
    (prop::sample::select(configurations(spec)), units).prop_map(move |(loss, units)| {
        let params = free(&loss).into_iter().zip(units);
        params.fold(loss.clone(), |loss, (param, unit)| {
            let with = |x| loss.with(param.name, x).ok();
            number(param.kind, unit).and_then(with).unwrap_or(loss)
        })
    })
}

/// The parameters that may be anything: its own, and those of the modifiers that its configuration has switched on.
fn free(loss: &Loss) -> Vec<&'static ParamSpec> {
    let spec = loss.spec();
    let modifiers = spec.modifiers.iter().map(|modifier| modifier.params);
    let on = |params: &&[ParamSpec]| loss.param(params[0].name) != Some(&params[0].default());
    let modifiers = modifiers.filter(on).flatten();
    spec.params.iter().chain(modifiers).collect()
}

/// One to three pairs of rows; log-ratios of every size, also tiny ones; tokens with ratios to go with them.
pub(crate) fn any_data() -> impl Strategy<Value = Data> {
    let token = (
        -6.0..-0.125_f64,
        -1.0..1.0_f64,
        -2.0..2.0_f64,
        -9.0..-0.01_f64,
    );
    let row = (
        prop::collection::vec(token, 1..8),
        0..4_i32,
        (-2.0..2.0_f64, -3.0..8.0_f64, -2.0..2.0_f64),
    );
    prop::collection::vec((row.clone(), row), 1..4).prop_map(|pairs| {
        let (mut rows, mut columns) = (Vec::new(), TokenColumns::default());
        for (tokens, size, (advantage, z0, score)) in pairs.into_iter().flat_map(<[_; 2]>::from) {
            let size = 10.0_f64.powi(size - 2);
            for (reference, ratio, old, collision) in &tokens {
                columns.ref_logps.push(*reference);
                columns.logps.push(reference + ratio * size);
                columns.old_logps.push(reference + ratio * size - old);
                columns.log_collisions.push(*collision);
            }
            let sum = |column: &[f64]| column[column.len() - tokens.len()..].iter().sum();
            rows.push(Row {
                logp: sum(&columns.logps),
                ref_logp: sum(&columns.ref_logps),
                old_logp: sum(&columns.old_logps),
                tokens: tokens.len() as u32,
                label: label(rows.len()),
                group: rows.len() as u32 / 4,
                score,
                advantage,
                z0,
                ..Row::default()
            });
        }
        Data { rows, columns }
    })
}
