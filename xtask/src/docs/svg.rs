//! A small writer of SVG: two panels of lines over one axis, readable on light and on dark pages. The same bytes on every
//! machine: coordinates have one decimal.

use std::fmt::Write;

/// A line of a panel; NaN is left out.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) values: Vec<f64>,
}

/// What is drawn over the common axis.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) lines: Vec<Line>,
}

/// A stretch of the axis that is shaded.
pub(super) struct Band {
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
}

pub(super) struct Plot {
    pub(super) title: String,
    pub(super) axis: &'static str,
    pub(super) places: Vec<f64>,
    pub(super) bands: Vec<Band>,
    pub(super) panels: [Panel; 2],
}

const WIDTH: f64 = 340.0;
const PLOT_WIDTH: f64 = 264.0;
const LEFT: f64 = 58.0;
const TOP: f64 = 24.0;
const HEIGHT: f64 = 150.0;

const HEAD: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 226\" width=\"680\" height=\"226\" role=\"img\">\n\
<style>text{font:11px sans-serif;fill:#57606a}.t{font-weight:bold}.g{stroke:#8c959f;stroke-opacity:.35;fill:none}\
.f{stroke:#8c959f;fill:none}.l{fill:none;stroke-width:2;stroke-linejoin:round}.c0{stroke:#0969da}.c1{stroke:#d1661c;stroke-dasharray:6 3}\
text.c0{fill:#0969da;stroke:none}text.c1{fill:#d1661c;stroke:none}.learnt{fill:#2da44e;fill-opacity:.13}.given{fill:#cf222e;fill-opacity:.13}\
@media(prefers-color-scheme:dark){text{fill:#9ea7b3}.c0{stroke:#58a6ff}.c1{stroke:#f0883e}text.c0{fill:#58a6ff}text.c1{fill:#f0883e}}</style>\n";

pub(super) fn write(plot: &Plot) -> String {
    let mut out = format!("{HEAD}<title>{}</title>\n", plot.title);
    for (index, panel) in plot.panels.iter().enumerate() {
        draw(&mut out, plot, panel, index as f64 * WIDTH + LEFT);
    }
    out + "</svg>\n"
}

fn draw(out: &mut String, plot: &Plot, panel: &Panel, left: f64) {
    let (first, last) = (plot.places[0], plot.places[plot.places.len() - 1]);
    let values = || panel.lines.iter().flat_map(|line| &line.values).copied();
    let (mut low, mut high) = (
        values().fold(f64::INFINITY, f64::min).min(0.0),
        values().fold(f64::NEG_INFINITY, f64::max).max(0.0),
    );
    let air = 0.06 * (high - low).max(1e-300);
    (low, high) = (low - air, high + air);
    let x = |at: f64| coordinate(left + (at - first) / (last - first) * PLOT_WIDTH);
    let y = |at: f64| coordinate(TOP + HEIGHT - (at - low) / (high - low) * HEIGHT);
    let (right, bottom) = (left + PLOT_WIDTH, TOP + HEIGHT);
    // Writing into a string cannot fail.
    let mut put = |line: String| _ = writeln!(out, "{line}");
    put(format!(
        "<text class=\"t\" x=\"{left}\" y=\"14\">{}</text>",
        panel.title
    ));
    for band in &plot.bands {
        let (from, to) = (band.from.max(first), band.to.min(last));
        if from < to {
            let width = coordinate((to - from) / (last - first) * PLOT_WIDTH);
            put(format!(
                "<rect class=\"{}\" x=\"{}\" y=\"{TOP}\" width=\"{width}\" height=\"{HEIGHT}\"><title>{}</title></rect>",
                band.class,
                x(from),
                band.name
            ));
        }
    }
    for (tick, label) in ticks(first, last) {
        put(format!(
            "<path class=\"g\" d=\"M{} {TOP}V{bottom}\"/>",
            x(tick)
        ));
        put(format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            x(tick),
            bottom + 14.0
        ));
    }
    for (tick, label) in ticks(low, high) {
        put(format!(
            "<path class=\"g\" d=\"M{left} {}H{right}\"/>",
            y(tick)
        ));
        put(format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" dy=\"4\">{label}</text>",
            left - 5.0,
            y(tick)
        ));
    }
    put(format!(
        "<rect class=\"f\" x=\"{left}\" y=\"{TOP}\" width=\"{PLOT_WIDTH}\" height=\"{HEIGHT}\"/>"
    ));
    for (index, line) in panel.lines.iter().enumerate() {
        let points: Vec<_> = plot
            .places
            .iter()
            .zip(&line.values)
            .map(|(at, value)| format!("{},{}", x(*at), y(*value)))
            .collect();
        put(format!(
            "<polyline class=\"l c{index}\" points=\"{}\"/>",
            points.join(" ")
        ));
        let place = left + 110.0 * index as f64;
        put(format!(
            "<text class=\"c{index}\" x=\"{place}\" y=\"218\">{}</text>",
            line.name
        ));
    }
    put(format!(
        "<text x=\"{}\" y=\"203\" text-anchor=\"middle\">{}</text>",
        left + PLOT_WIDTH / 2.0,
        plot.axis
    ));
}

/// One decimal, and no negative zero.
fn coordinate(x: f64) -> String {
    let text = format!("{x:.1}");
    match text.as_str() {
        "-0.0" => "0.0".into(),
        _ => text,
    }
}

/// Three to six round numbers of a range, and how they are written.
fn ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let mut exponent = -30;
    // powers of ten read from text: the same on every machine
    let power = |exponent: i32| format!("1e{exponent}").parse::<f64>().unwrap_or(1.0);
    while power(exponent + 1) < (high - low) / 3.5 {
        exponent += 1;
    }
    let unit = power(exponent);
    let wide = |step: &&f64| (high - low) / (unit * **step) <= 6.0;
    let step = [1.0, 2.0, 5.0, 10.0, 20.0]
        .iter()
        .find(wide)
        .unwrap_or(&20.0);
    let first = (low / (unit * step)).ceil() as i64;
    let last = (high / (unit * step)).floor() as i64;
    (first..=last)
        .map(|index| {
            let (multiple, places) = (index as f64 * step, (-exponent).max(0) as usize);
            let label = match exponent {
                -3..=3 => format!("{:.places$}", multiple * unit),
                _ if index == 0 => "0".into(),
                _ => {
                    let value: f64 = format!("{multiple}e{exponent}").parse().unwrap_or_default();
                    format!("{value:e}")
                }
            };
            (multiple * unit, label)
        })
        .collect()
}
