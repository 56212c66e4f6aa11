//! The plot: root mean squared error over the size of a step, both logarithmic, at the middle distance; first
//! where mismatched answers do measure the divergence, then by where answers come from.

use std::fmt::Write;

use halo_loss::reference_point::NAMES;

use super::data::Behaviour;
use super::measure::Measured;
use super::{SIZES, Study, tables};

/// Estimator and colour: blue reads mismatched answers, red the rows themselves.
const CURVES: &[(&str, &str)] = &[
    ("mismatch", "#1f77b4"),
    ("clamp_first", "#7fb3d9"),
    ("ring_buffer", "#0b3c5d"),
    ("batch_mean", "#d62728"),
    ("leave_one_out", "#f08a8b"),
    ("ema", "#8c1a1b"),
    ("running_mean", "#e377c2"),
    ("zero", "#888888"),
];
const PANEL: f64 = 220.0;
const HEIGHT: f64 = 240.0;
const TOP: f64 = 40.0;
/// Limits of the errors shown, nats.
const RANGE: (f64, f64) = (0.05, 4.0);

pub(super) fn svg(study: &Study) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        4.0 * PANEL + 170.0,
        HEIGHT + TOP + 45.0
    );
    let panels = Behaviour::ALL.map(|b| (b.phrase(), &study.distinct[1], b));
    let common = ("π's own, all common", &study.common, Behaviour::Policy);
    let panels = [common].into_iter().chain(panels);
    for (panel, (title, measured, behaviour)) in panels.enumerate() {
        let left = 50.0 + PANEL * panel as f64;
        label(&mut text, left, TOP - 12.0, title);
        for error in [0.1, 0.3, 1.0, 3.0] {
            let y = height(error);
            // Writing into a string cannot fail.
            let _ = writeln!(
                text,
                "<path d=\"M{left:.1} {y:.1}h{:.1}\" stroke=\"#dddddd\"/>",
                PANEL - 30.0
            );
            label(&mut text, left - 22.0, y + 4.0, &error.to_string());
        }
        for (i, size) in SIZES.iter().enumerate() {
            label(
                &mut text,
                place(left, i) - 4.0,
                TOP + HEIGHT + 16.0,
                &size.to_string(),
            );
        }
        for (name, colour) in CURVES {
            let points: Vec<_> = points(measured, behaviour, name)
                .enumerate()
                .map(|(i, error)| format!("{:.1},{:.1}", place(left, i), height(error)))
                .collect();
            let _ = writeln!(
                text,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                points.join(" ")
            );
        }
    }
    for (i, (name, colour)) in CURVES.iter().enumerate() {
        let (x, y) = (4.0 * PANEL + 40.0, TOP + 20.0 * i as f64);
        let _ = writeln!(
            text,
            "<path d=\"M{x:.1} {y:.1}h18\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        label(&mut text, x + 24.0, y + 4.0, name);
    }
    label(
        &mut text,
        50.0,
        TOP + HEIGHT + 36.0,
        "root mean squared error of the reference point (nats, KL 1) over rows of a step",
    );
    text + "</svg>\n"
}

fn points<'a>(
    measured: &'a [Measured],
    behaviour: Behaviour,
    name: &str,
) -> impl Iterator<Item = f64> + 'a {
    let index = NAMES.iter().position(|known| *known == name);
    SIZES.iter().filter_map(move |size| {
        let measured = tables::find(measured, behaviour, *size)?;
        Some(measured.scores[index?].rmse())
    })
}

fn place(left: f64, i: usize) -> f64 {
    left + 10.0 + (PANEL - 50.0) * i as f64 / (SIZES.len() - 1) as f64
}

fn height(error: f64) -> f64 {
    let (low, high) = (libm::log(RANGE.0), libm::log(RANGE.1));
    let error = libm::log(error.clamp(RANGE.0, RANGE.1));
    TOP + HEIGHT * (high - error) / (high - low)
}

fn label(text: &mut String, x: f64, y: f64, what: &str) {
    let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\">{what}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_an_estimator() {
        assert!(CURVES.iter().all(|(name, _)| NAMES.contains(name)));
    }
}
