//! The plot of a loss: its value and what it pulls with, as `evaluate` gives them at the defaults.

use halo_loss::curve::{Curve, Kind, Point};
use halo_loss::{Label, Loss, Need, Params, Spec, saturation};

use super::svg::{self, Band, Line, Panel, Plot};

/// Tokens of each completion.
const TOKENS: u32 = 20;
/// Steps of a curve.
const STEPS: i32 = 56;

/// The plot's text, and what it shows in a sentence.
pub(super) fn plot(spec: &Spec) -> Result<(String, String), String> {
    let problem = |error: halo_loss::Error| format!("{}: {error}", spec.name);
    let loss = Loss::new(spec.name, &Params::new()).map_err(problem)?;
    let curve = Curve::new(&loss, TOKENS).map_err(problem)?;
    let kind = curve.kind();
    let bounds = saturation::bounds(&loss, saturation::TOLERANCE).map_err(problem)?;
    let (low, high) = curve.range(&bounds);
    let places: Vec<f64> = (0..=STEPS)
        .map(|step| low + (high - low) * f64::from(step) / f64::from(STEPS))
        .collect();
    let names: &[&'static str] = match kind {
        Kind::Likelihood => &["the completion"],
        Kind::Row | Kind::RowPerToken => &["desirable row", "undesirable row"],
        Kind::Pair | Kind::PairPerToken => &["chosen answer"],
        Kind::Token => &["advantage +1", "advantage −1"],
    };
    let (mut values, mut pulls) = (Vec::new(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        let label = match index {
            0 => Label::Desirable,
            _ => Label::Undesirable,
        };
        let points: Result<Vec<_>, _> = places.iter().map(|at| curve.at(*at, label)).collect();
        let of_point = |point: Option<Point>| {
            point.map_or((f64::NAN, f64::NAN), |point| (point.value, -point.slope))
        };
        let points = points.map_err(problem)?.into_iter().map(of_point);
        let (value, pull) = points.unzip();
        values.push(Line {
            name,
            values: value,
        });
        pulls.push(Line { name, values: pull });
    }
    if let Kind::Pair | Kind::PairPerToken = kind {
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
        axis: curve.axis(),
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

fn caption(kind: Kind, bands: &[Band]) -> String {
    let what = match kind {
        Kind::Likelihood => "One completion of 20 tokens.",
        Kind::Row | Kind::RowPerToken => "One row, z0 = 0.",
        Kind::Pair | Kind::PairPerToken => {
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
        (_, Kind::Row | Kind::RowPerToken) => format!(
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
