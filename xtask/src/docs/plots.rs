//! The plot of a loss: its value and what it pulls with, as `evaluate` gives them at the defaults.

use halo_loss::{
    Batch, DataShape, Label, Loss, Need, Normalizer, ParamValue, Params, Row, Spec, Tokens,
    evaluate, saturation,
};

use super::svg::{self, Band, Line, Panel, Plot};

/// Tokens of each completion, and its log-probability before anything moves: −1 nat per token.
const TOKENS: u32 = 20;
const START: f64 = -20.0;
/// Steps of a curve.
const STEPS: i32 = 56;

/// What moves along the axis.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One completion's ln π.
    Likelihood,
    /// A judged row's log-ratio.
    Row,
    /// The margin of a pair, half of it by either answer; in nats or in nats per token.
    Pair { per_token: bool },
    /// A token's log-ratio to the sampling policy, for an advantage of 1 and of −1.
    Token,
}

/// The plot's text, and what it shows in a sentence.
pub(super) fn plot(spec: &Spec) -> Result<(String, String), String> {
    let problem = |error: halo_loss::Error| format!("{}: {error}", spec.name);
    let loss = Loss::new(spec.name, &Params::new()).map_err(problem)?;
    let kind = kind(&loss).map_err(problem)?;
    let bounds = saturation::bounds(&loss, saturation::TOLERANCE).map_err(problem)?;
    let (low, high) = range(&loss, kind, bounds.learnt, bounds.given_up);
    let places: Vec<f64> = (0..=STEPS)
        .map(|step| low + (high - low) * f64::from(step) / f64::from(STEPS))
        .collect();
    let names: &[&'static str] = match kind {
        Kind::Likelihood => &["the completion"],
        Kind::Row => &["desirable row", "undesirable row"],
        Kind::Pair { .. } => &["chosen answer"],
        Kind::Token => &["advantage +1", "advantage −1"],
    };
    let (mut values, mut pulls) = (Vec::new(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        let curve: Result<Vec<_>, _> = places
            .iter()
            .map(|at| at_place(&loss, kind, *at, index == 0))
            .collect();
        let (value, pull) = curve.map_err(problem)?.into_iter().unzip();
        values.push(Line {
            name,
            values: value,
        });
        pulls.push(Line { name, values: pull });
    }
    if let Kind::Pair { .. } = kind {
        // the value is the pair's
        values[0].name = "the pair";
    }
    let bands = [
        bounds.learnt.map(|from| Band {
            class: "learnt",
            name: "learnt",
            from,
            to: high,
        }),
        bounds.given_up.map(|to| Band {
            class: "given",
            name: "given up",
            from: low,
            to,
        }),
    ];
    let bands: Vec<_> = bands.into_iter().flatten().collect();
    let caption = caption(kind, &bands);
    let text = svg::write(&Plot {
        title: format!("{}: value and gradient", spec.name),
        axis: axis(&loss, kind),
        places,
        bands,
        panels: [
            Panel {
                title: "loss",
                lines: values,
            },
            Panel {
                title: pull_title(&loss),
                lines: pulls,
            },
        ],
    });
    Ok((text, caption))
}

fn pull_title(loss: &Loss) -> &'static str {
    match (loss.needs(Need::Scores), loss.needs(Need::Errors)) {
        (true, _) => "pull: −dL / d score",
        (_, true) => "pull: −dL / d(−error)",
        _ => "pull: −dL / d ln π, 1/nat",
    }
}

fn axis(loss: &Loss, kind: Kind) -> &'static str {
    let errors = loss.needs(Need::Errors);
    match (kind, loss.needs(Need::Reference)) {
        _ if loss.needs(Need::Scores) => "margin of scores f_w − f_l",
        (Kind::Likelihood, _) => "ln π(y|x), nats",
        (Kind::Token, _) => "log-ratio ln π − ln π_old, nats",
        (Kind::Row, _) if errors => "r − z0, r = e_ref − e (errors)",
        (Kind::Row, _) => "r − z0, nats",
        (Kind::Pair { .. }, _) if errors => "margin r_w − r_l, r = e_ref − e (errors)",
        (Kind::Pair { per_token: true }, true) => "margin (r/n)_w − (r/n)_l, nats per token",
        (Kind::Pair { per_token: true }, _) => "margin a_w − a_l, a = ln π / n, nats per token",
        (Kind::Pair { .. }, true) => "margin r_w − r_l, nats",
        (Kind::Pair { .. }, _) => "margin ln π_w − ln π_l, nats",
    }
}

fn caption(kind: Kind, bands: &[Band]) -> String {
    let what = match kind {
        Kind::Likelihood => "One completion of 20 tokens.",
        Kind::Row => "One row, z0 = 0.",
        Kind::Pair { .. } => {
            "One pair of 20 tokens each, from -1 nat per token: half of the margin is the chosen answer's rise, half the rejected one's fall."
        }
        Kind::Token => "One answer of one token.",
    };
    let names: Vec<_> = bands
        .iter()
        .map(|band| match band.class {
            "learnt" => "green: learnt",
            _ => "red: given up",
        })
        .collect();
    let zones = match (names.is_empty(), kind) {
        (true, _) => String::new(),
        (_, Kind::Row) => format!(
            " Shaded for the desirable row ({}; the slope is below 1 % of the steepest); the undesirable row's zones lie mirrored.",
            names.join(", ")
        ),
        _ => format!(
            " Shaded: {} (the slope is below 1 % of the steepest).",
            names.join(", ")
        ),
    };
    format!("{what}{zones}")
}

fn kind(loss: &Loss) -> Result<Kind, halo_loss::Error> {
    Ok(match loss.data_shape() {
        _ if loss.needs(Need::Advantages) => Kind::Token,
        DataShape::Paired => {
            // a loss of means does not see that everything is twice as long
            let of = |times: u32| {
                let row = |logp: f64, label| Row {
                    logp: logp * f64::from(times),
                    ref_logp: START * f64::from(times),
                    tokens: TOKENS * times,
                    label,
                    ..Row::default()
                };
                let rows = [row(-19.0, Label::Desirable), row(-21.0, Label::Undesirable)];
                evaluate(loss, &rows, &Normalizer::of(loss, &rows)).map(|result| result.loss)
            };
            let per_token = (of(1)? - of(2)?).abs() < 1e-9;
            Kind::Pair { per_token }
        }
        _ if !loss.needs(Need::Reference) => Kind::Likelihood,
        _ => Kind::Row,
    })
}

/// The axis: far enough to see the zones, or the whole bend of a loss without.
fn range(loss: &Loss, kind: Kind, learnt: Option<f64>, given_up: Option<f64>) -> (f64, f64) {
    let number = |name: &str| match loss.param(name) {
        Some(ParamValue::Number(x)) => Some(*x),
        _ => None,
    };
    let scale = number("beta").or_else(|| number("tau")).unwrap_or(1.0);
    let half = match (kind, learnt, given_up) {
        (Kind::Likelihood, ..) => return (-60.0, 0.0),
        (Kind::Token, ..) => {
            let clips = [
                number("clip_high").map(|x| 2.5 * x.ln_1p()),
                number("ratio_high").map(|x| 1.4 * x.ln()),
                number("cap").map(|x| 1.4 * x.ln()),
            ];
            clips.into_iter().flatten().fold(0.0, f64::max)
        }
        (_, None, None) => 5.0 / scale,
        _ => {
            let far = |bound: Option<f64>| bound.map_or(0.0, f64::abs);
            1.35 * far(learnt).max(far(given_up))
        }
    };
    // three digits, whatever the last bit of a logarithm
    let half = format!("{half:.2e}").parse().unwrap_or(half);
    match kind {
        // a mean log-probability ends at 0
        Kind::Pair { per_token: true } if !loss.needs(Need::Reference) => {
            (-half.min(1.96), half.min(1.96))
        }
        _ => (-half, half),
    }
}

/// Value and −dL/dlogp at a place; `first` chooses the desirable row or the positive advantage.
fn at_place(loss: &Loss, kind: Kind, at: f64, first: bool) -> Result<(f64, f64), halo_loss::Error> {
    let label = if first {
        Label::Desirable
    } else {
        Label::Undesirable
    };
    let start = match loss.needs(Need::Scores) || loss.needs(Need::Errors) {
        true => 0.0,
        false => START,
    };
    let row = |logp: f64, label| Row {
        logp,
        ref_logp: start,
        tokens: TOKENS,
        label,
        ..Row::default()
    };
    let rows = match kind {
        Kind::Likelihood => vec![row(at, Label::Desirable)],
        Kind::Row => vec![row(start + at, label)],
        Kind::Pair { per_token } => {
            let half = if per_token {
                at * f64::from(TOKENS)
            } else {
                at
            } / 2.0;
            vec![
                row(start + half, Label::Desirable),
                row(start - half, Label::Undesirable),
            ]
        }
        Kind::Token => vec![Row {
            logp: -1.0 + at,
            ref_logp: -1.0,
            old_logp: -1.0,
            tokens: 1,
            label,
            advantage: label.sign(),
            ..Row::default()
        }],
    };
    let (logps, others) = ([rows[0].logp], [rows[0].ref_logp]);
    let tokens = match loss.per_token() {
        true => Tokens {
            logps: &logps,
            ref_logps: &others,
            old_logps: &others,
            ..Tokens::default()
        },
        false => Tokens::default(),
    };
    let batch = Batch {
        rows: &rows,
        tokens,
    };
    let result = evaluate(loss, batch, &Normalizer::of(loss, &rows))?;
    let slope = result.token_dlogps.first().or(result.dlogps.first());
    Ok((result.loss, -slope.copied().unwrap_or_default()))
}
