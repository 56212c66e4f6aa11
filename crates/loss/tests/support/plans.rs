//! Every way to set up every loss of the registry, and rows to try them on.

use halo_loss::{
    Evaluation, Label, Loss, Normalizer, ParamKind, ParamValue, Params, Point, Row, Source, Spec,
    evaluate,
};

/// All combinations of a loss's words and flags, numbers at their defaults, without the contradictory ones.
pub(crate) fn configurations(spec: &'static Spec) -> Vec<Loss> {
    let mut combinations = vec![Params::new()];
    for param in spec.params {
        let values: Vec<ParamValue> = match param.kind {
            ParamKind::Number { .. } => continue,
            ParamKind::Choice { choices, .. } => choices
                .iter()
                .map(|c| ParamValue::Text(c.to_string()))
                .collect(),
            ParamKind::Flag { .. } => vec![ParamValue::Flag(false), ParamValue::Flag(true)],
        };
        combinations = combinations
            .iter()
            .flat_map(|params| {
                values.iter().map(move |value| {
                    let mut params = params.clone();
                    params.set(param.name, value.clone());
                    params
                })
            })
            .collect();
    }
    let losses = combinations
        .iter()
        .map(|params| Loss::new(spec.name, params));
    losses
        .filter_map(|loss| match loss {
            Ok(loss) => Some(loss),
            Err(error) => {
                assert!(error.is_parameter(), "{error}");
                None
            }
        })
        .collect()
}

/// A number of a parameter's range, from one of 0..1: logarithmic where the range is, and within what people use.
pub(crate) fn number_in(kind: ParamKind, unit: f64) -> Option<f64> {
    let ParamKind::Number { range, .. } = kind else {
        return None;
    };
    let high = range.high.min(10.0);
    Some(match range.low > 0.0 {
        true => {
            let low = range.low.max(1e-3);
            low * (high / low).powf(unit)
        }
        false => range.low + unit * (high - range.low),
    })
}

/// Pairs in turn, so that losses of every shape can read them; dyadic, so that sums are exact.
pub(crate) fn rows() -> Vec<Row> {
    let log_ratios = [2.5, -1.25, -3.0, 4.75, 0.5, 0.25, -30.0, 12.0];
    let row = |(i, r): (usize, &f64)| Row {
        logp: -40.0 - 3.5 * i as f64 + r,
        ref_logp: -40.0 - 3.5 * i as f64,
        tokens: 7 + 3 * i as u32,
        label: if i % 2 == 0 {
            Label::Desirable
        } else {
            Label::Undesirable
        },
    };
    log_ratios.iter().enumerate().map(row).collect()
}

/// The same prompts with other completions.
pub(crate) fn mismatched() -> Vec<Row> {
    let log_ratios = [1.5, -0.25, 3.0, 0.75];
    let row = |(i, r): (usize, &f64)| Row {
        logp: -55.0 - 2.5 * i as f64 + r,
        ref_logp: -55.0 - 2.5 * i as f64,
        tokens: 11 + 2 * i as u32,
        label: Label::Desirable,
    };
    log_ratios.iter().enumerate().map(row).collect()
}

/// What a trainer does with a loss on a whole step: the reference point first, then the loss.
pub(crate) fn step(loss: &Loss, rows: &[Row], mismatched: &[Row]) -> (Point, Evaluation) {
    let point = match loss.reference_point() {
        None => Point::default(),
        Some(estimator) => {
            let mut sums = [0.0; 4];
            match estimator.source() {
                Source::None => {}
                Source::Mismatched => estimator.accumulate(&mut sums, mismatched),
                Source::Matched => estimator.accumulate(&mut sums, rows),
            }
            estimator.finish(&sums)
        }
    };
    (
        point,
        evaluate(loss, rows, &point, &Normalizer::of(loss, rows)).unwrap(),
    )
}
