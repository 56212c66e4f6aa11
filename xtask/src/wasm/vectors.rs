//! What every loss gives natively, at random parameters and at the edges: the module must give the same bits.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use halo_loss::{Loss, Need, ParamKind, Params, Spec, registry};
use halo_train::Rng;
use halo_wasm::evaluate::{COLUMNS, evaluate};
use halo_wasm::{curves, params, theory};

use crate::shell::Outcome;

/// Sets of parameters a loss.
const SETS: usize = 50;
const ROWS: usize = 8;
const TOKENS: usize = 3;

/// Writes cases as JSON: each with the function, its arguments, and what it gave, numbers as the hexadecimal digits of their bits.
pub(super) fn write(path: &Path) -> Outcome {
    let mut random = Random(Rng::new(1979));
    let mut cases = Vec::new();
    for spec in registry() {
        for set in 0..SETS {
            cases.push(case(spec, set, &mut random));
            if set < 8 {
                cases.extend(curve(spec, set, &mut random));
            }
        }
    }
    for seed in [1, 2, 3, 4, 5, u32::MAX] {
        let drawn = theory::means(-1.0, 2.0, 4, 100, seed);
        cases.push(format!("{{\"means\":{seed},{}}}", outcome(drawn)));
    }
    let text = format!("[\n{}\n]\n", cases.join(",\n"));
    println!("{} cases of {} losses", cases.len(), registry().len());
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn case(spec: &Spec, set: usize, random: &mut Random) -> String {
    let numbers = parameters(spec, set, random);
    let (rows, tokens) = rows(spec, set, random);
    let result = params::loss(spec.name, &numbers).and_then(|loss| evaluate(&loss, &rows, &tokens));
    format!(
        "{{\"loss\":\"{}\",\"params\":\"{}\",\"rows\":\"{}\",\"tokens\":\"{}\",{}}}",
        spec.name,
        bits(&numbers),
        bits(&rows),
        bits(&tokens),
        outcome(result)
    )
}

fn curve(spec: &Spec, set: usize, random: &mut Random) -> [String; 2] {
    let numbers = parameters(spec, set, random);
    let places = [-1e6, -1e3, -80.0, -1.0, -0.0, 1e-300, 0.5, 10.0, 60.0, 1e6];
    let result = params::loss(spec.name, &numbers);
    let head = |kind: &str| {
        format!(
            "{{\"{kind}\":\"{}\",\"params\":\"{}\",",
            spec.name,
            bits(&numbers)
        )
    };
    let drawn = result
        .clone()
        .and_then(|loss| curves::curve(&loss, halo_loss::Label::Undesirable, 100, &places));
    let bound = match result.and_then(|loss| curves::saturation(&loss, 100, 0.01)) {
        Ok(text) => format!("\"text\":{text:?}}}"),
        Err(why) => format!("\"error\":{why:?}}}"),
    };
    [
        format!(
            "{}\"places\":\"{}\",{}}}",
            head("curve"),
            bits(&places),
            outcome(drawn)
        ),
        head("saturation") + &bound,
    ]
}

fn outcome(result: Result<Vec<f64>, String>) -> String {
    match result {
        Ok(numbers) => format!("\"bits\":\"{}\"", bits(&numbers)),
        Err(why) => format!("\"error\":{why:?}"),
    }
}

/// Sixteen digits a number; all NaNs are one.
fn bits(numbers: &[f64]) -> String {
    let mut text = String::new();
    for number in numbers {
        let number = if number.is_nan() { f64::NAN } else { *number };
        // Writing into a string cannot fail.
        _ = write!(text, "{:016x}", number.to_bits());
    }
    text
}

/// The defaults first, then the ends of every range, then whatever is drawn. Draws that contradict each other stay in: their error is
/// compared.
fn parameters(spec: &Spec, set: usize, random: &mut Random) -> Vec<f64> {
    let one = |kind: &ParamKind, random: &mut Random| match kind {
        ParamKind::Number { range, .. } => match set {
            1 => range.low,
            2 => range.high,
            // near the scale on which ranges are used, whatever their ends
            _ => libm::exp(random.between(-5.0, 2.0)).clamp(range.low, range.high),
        },
        ParamKind::Choice { choices, .. } => random.below(choices.len()) as f64,
        ParamKind::Flag { .. } => random.below(2) as f64,
    };
    match set {
        0 => Vec::new(),
        _ => spec
            .all_params()
            .map(|param| match set % 3 {
                // a third of the sets moves numbers only
                0 if !matches!(param.kind, ParamKind::Number { .. }) => f64::NAN,
                _ => one(&param.kind, random),
            })
            .collect(),
    }
}

/// Rows in which pairs stand in turn, and their tokens; sets 3 to 5 are at the edges of what a log-probability can be.
fn rows(spec: &Spec, set: usize, random: &mut Random) -> (Vec<f64>, Vec<f64>) {
    let scores = Loss::new(spec.name, &Params::new()).is_ok_and(|loss| loss.needs(Need::Scores));
    let (mut rows, mut columns) = (Vec::new(), vec![Vec::new(); 4]);
    for row in 0..ROWS {
        let size = match set {
            3 => 0.0,
            4 => 1e6,
            5 => 1e-300,
            _ => random.between(0.1, 90.0),
        };
        let mut sums = [0.0; 3];
        for _ in 0..TOKENS {
            for (column, sum) in columns.iter_mut().zip(&mut sums) {
                let logp = -size * random.between(0.0, 1.0) / TOKENS as f64;
                column.push(logp);
                *sum += logp;
            }
            columns[3].push(-random.between(0.0, 3.0));
        }
        let score = random.between(-2.0, 2.0);
        let logp = if scores { score } else { sums[0] };
        let numbers: [f64; COLUMNS] = [
            logp,
            sums[1],
            sums[2],
            TOKENS as f64,
            f64::from(u8::from(row % 2 == 0)),
            (row / 2) as f64,
            score,
            random.between(-2.0, 2.0),
            random.between(0.0, 2.0),
            random.between(0.5, 2.0),
            random.between(-3.0, 3.0),
        ];
        rows.extend(numbers);
    }
    (rows, columns.concat())
}

/// Of the demo's generator.
struct Random(Rng);

impl Random {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.uniform()
    }

    fn below(&mut self, n: usize) -> usize {
        self.0.below(n as u64) as usize
    }
}
