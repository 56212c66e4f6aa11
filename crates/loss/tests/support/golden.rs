//! Reading the golden files, and how near is near enough.

use std::fs;
use std::path::PathBuf;

use halo_loss::{
    Batch, Label, Loss, Normalizer, ParamValue, Params, Row, TokenColumns, Zone, evaluate,
    saturation,
};
use serde_json::Value;

/// The files hold correctly rounded numbers. Ours come through a handful of roundings, and e^-u multiplies the
/// rounding of u by u, which is at most 1e3 where e^-u is not 0: a thousand times 2⁻⁵³.
const RELATIVE: f64 = 1.2e-13;
/// Below this, results are on their way to underflow and no digit is owed.
const ABSOLUTE: f64 = 1e-300;
/// The files' slopes are differences of steps of 1e-30: where a slope is 0, what is left of the third derivative stands there.
const DIFFERENCES: f64 = 1e-60;

/// A case of a loss.
pub(crate) struct Case<'a> {
    loss: &'a str,
    case: &'a Value,
    name: String,
}

impl<'a> Case<'a> {
    pub(crate) fn new(loss: &'a str, case: &'a Value) -> Case<'a> {
        let name = format!("{loss}, {}", case["name"]);
        Case { loss, case, name }
    }

    /// The largest relative error; what is too large is told in `wrong`.
    pub(crate) fn check(&self, wrong: &mut Vec<String>) -> f64 {
        match self.compare(wrong) {
            Ok(worst) => worst,
            Err(error) => {
                wrong.push(format!("{}: {error}", self.name));
                0.0
            }
        }
    }

    fn only_known(&self, wrong: &mut Vec<String>) {
        let rows = self.case["rows"].as_array().unwrap();
        let objects = rows.iter().map(|row| (row, ROW_KEYS));
        for (object, known) in objects.chain([(self.case, KEYS)]) {
            let unknown = |key: &&String| !known.contains(&key.as_str());
            if let Some(key) = object.as_object().unwrap().keys().find(unknown) {
                wrong.push(format!("{}: {key:?} is not read", self.name));
            }
        }
    }

    fn compare(&self, wrong: &mut Vec<String>) -> Result<f64, halo_loss::Error> {
        let (case, name) = (self.case, &self.name);
        self.only_known(wrong);
        let loss = Loss::new(self.loss, &params(&case["params"]))?;
        let rows = rows(&case["rows"], number(&case["reference_point"]));
        let columns = columns(&case["tokens"]);
        let batch = Batch {
            rows: &rows,
            tokens: columns.view(),
        };
        let counts = |key: &str| number(&case["normalizer"][key]);
        let normalizer = Normalizer {
            units: counts("units"),
            tokens: counts("tokens"),
            // in a weighted sum the files count the chosen rows' tokens, unless they say both
            desirable_tokens: case["normalizer"]["desirable_tokens"]
                .as_f64()
                .unwrap_or_else(|| counts("tokens")),
        };
        let result = evaluate(&loss, batch, &normalizer)?;
        // terms that cancel owe the digits of the terms
        let scale = case["scale"].as_f64().unwrap_or(0.0);
        let spread = |(row, slope): (&Row, &f64)| vec![*slope; row.tokens as usize];
        let by_token = case["token_dlogps"].is_array();
        let slopes: Vec<f64> = match (loss.per_token(), by_token) {
            (true, true) => result.token_dlogps.clone(),
            (false, true) => rows.iter().zip(&result.dlogps).flat_map(spread).collect(),
            (_, false) => result.dlogps.clone(),
        };
        let key = if by_token { "token_dlogps" } else { "dlogps" };
        let mut worst = 0.0_f64;
        for (what, ours) in [
            ("values", &result.values),
            (key, &slopes),
            ("rewards", &result.rewards),
        ] {
            let rest = if what == key { DIFFERENCES } else { 0.0 };
            let [ours, expected] =
                [ours, &numbers(&case[what])].map(|numbers| without(rest, numbers));
            let what = format!("{name}: {what}");
            worst = worst.max(close(wrong, &what, &ours, &expected, scale));
        }
        // a sum of values of both signs owes the digits of the values
        let terms: f64 = result.values.iter().map(|value| value.abs()).sum();
        let divisor = normalizer.units.min(normalizer.tokens);
        close(
            wrong,
            &format!("{name}: loss"),
            &[result.loss],
            &[number(&case["loss"])],
            scale + terms / divisor,
        );
        if case["zones"].is_array() {
            let zones = zones(&case["zones"]);
            let again = saturation::zones(&loss, batch, saturation::TOLERANCE)?;
            if result.zones != zones || again != zones {
                wrong.push(format!(
                    "{name}: zones {:?}, golden {zones:?}",
                    result.zones
                ));
            }
        }
        if let Some(published) = case.get("published") {
            published_digits(wrong, name, &published["value"], result.loss);
            let known = published["dlogps"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            if !known.is_empty() && known.len() != slopes.len() {
                let (known, ours) = (known.len(), slopes.len());
                wrong.push(format!("{name}: {known} published slopes, {ours} of ours"));
            }
            for (known, ours) in known.iter().zip(&slopes) {
                published_digits(wrong, name, known, *ours);
            }
        }
        Ok(worst)
    }
}

/// What a case may hold; what is not read here would be a promise that nobody keeps.
const KEYS: &[&str] = &[
    "name",
    "of",
    "params",
    "rows",
    "tokens",
    "reference_point",
    "normalizer",
    "loss",
    "values",
    "dlogps",
    "token_dlogps",
    "rewards",
    "zones",
    "scale",
    "published",
];
const ROW_KEYS: &[&str] = &[
    "logp",
    "ref_logp",
    "old_logp",
    "tokens",
    "label",
    "group",
    "score",
    "advantage",
    "weight",
    "beta_scale",
    "z0",
];

/// The numbers, those below `rest` as 0.
fn without(rest: f64, numbers: &[f64]) -> Vec<f64> {
    let keep = |x: &f64| if x.abs() < rest { 0.0 } else { *x };
    numbers.iter().map(keep).collect()
}

/// The largest relative error; one that is too large, measured against `scale` too, is told in `wrong`.
pub(crate) fn close(
    wrong: &mut Vec<String>,
    name: &str,
    ours: &[f64],
    expected: &[f64],
    scale: f64,
) -> f64 {
    if ours.len() != expected.len() {
        wrong.push(format!(
            "{name}: {} numbers, golden {}",
            ours.len(),
            expected.len()
        ));
        return 0.0;
    }
    let mut worst = 0.0_f64;
    for (index, (a, b)) in ours.iter().zip(expected).enumerate() {
        let error = (a - b).abs();
        let near = error <= RELATIVE * (b.abs() + scale) + ABSOLUTE;
        if !near {
            wrong.push(format!("{name}[{index}]: {a:e}, golden {b:e}"));
        }
        if b.abs() > ABSOLUTE {
            worst = worst.max(error / (b.abs() + scale));
        }
    }
    worst
}

/// Fails with all of them.
pub(crate) fn together(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// As many digits as were published, at most twelve; a short number is meant exactly.
fn published_digits(wrong: &mut Vec<String>, name: &str, published: &Value, ours: f64) {
    let text = published.as_str().unwrap();
    let known: f64 = text.parse().unwrap();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let decimals = mantissa
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let last = exponent.parse::<i32>().unwrap() - decimals as i32;
    let digits = mantissa.replace(['.', '-', '+'], "");
    let exact = 6e-12 * known.abs() + 1e-18;
    let allowed = match digits.trim_matches('0').len() < 6 {
        true => exact,
        false => exact.max(0.51 * 10.0_f64.powi(last)),
    };
    if (ours - known).abs() > allowed + RELATIVE * known.abs() {
        wrong.push(format!("{name}: {ours}, published {text}"));
    }
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden")
}

pub(crate) fn read(name: &str) -> Value {
    let path = folder().join(name);
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{name}: {e}; make it in testdata/golden/make.py"));
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

pub(crate) fn params(value: &Value) -> Params {
    let mut params = Params::new();
    for (key, value) in value.as_object().unwrap() {
        let value = match value {
            Value::Number(x) => ParamValue::Number(x.as_f64().unwrap()),
            Value::Bool(flag) => ParamValue::Flag(*flag),
            Value::String(text) => ParamValue::Text(text.clone()),
            other => panic!("{other}"),
        };
        params.set(key, value);
    }
    params
}

/// Rows; those without a reference point of their own have `z0`.
pub(crate) fn rows(value: &Value, z0: f64) -> Vec<Row> {
    let row = |row: &Value| {
        let or = |key: &str, default: f64| row[key].as_f64().unwrap_or(default);
        Row {
            logp: number(&row["logp"]),
            ref_logp: number(&row["ref_logp"]),
            old_logp: or("old_logp", 0.0),
            tokens: row["tokens"].as_u64().unwrap() as u32,
            label: match row["label"].as_str().unwrap() {
                "desirable" => Label::Desirable,
                _ => Label::Undesirable,
            },
            group: row["group"].as_u64().unwrap_or_default() as u32,
            score: or("score", 0.0),
            advantage: or("advantage", 0.0),
            weight: or("weight", 1.0),
            beta_scale: or("beta_scale", 1.0),
            z0: or("z0", z0),
        }
    };
    value.as_array().unwrap().iter().map(row).collect()
}

fn columns(value: &Value) -> TokenColumns {
    let column = |key: &str| match value[key].is_array() {
        true => numbers(&value[key]),
        false => Vec::new(),
    };
    TokenColumns {
        logps: column("logps"),
        ref_logps: column("ref_logps"),
        old_logps: column("old_logps"),
        log_collisions: column("log_collisions"),
    }
}

fn zones(value: &Value) -> Vec<Zone> {
    let zone = |zone: &Value| match zone.as_str().unwrap() {
        "learnt" => Zone::Learnt,
        "active" => Zone::Active,
        _ => Zone::GivenUp,
    };
    value.as_array().unwrap().iter().map(zone).collect()
}
