//! The golden cases with the numbers that halo-loss itself gives on this machine: what every binding must repeat, bit for bit.
//!
//! JSON keeps the bits: numbers are written with the fewest digits that read back as the same number.

use std::fs;
use std::path::{Path, PathBuf};

use halo_loss::{Batch, Label, Loss, Normalizer, Params, Row, TokenColumns, Zone, evaluate};
use serde_json::{Map, Value, json};

use crate::shell::root;

/// Writes `vectors.json` into a folder and says where.
pub(super) fn write(folder: &Path) -> Result<PathBuf, String> {
    let golden = root().join("testdata/golden");
    let mut files: Vec<PathBuf> = fs::read_dir(&golden)
        .map_err(|error| format!("{}: {error}", golden.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    let mut vectors = Vec::new();
    for file in files {
        let within = |error: String| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| within(error.to_string()))?;
        let cases: Value =
            serde_json::from_str(&text).map_err(|error| within(error.to_string()))?;
        for case in cases["cases"].as_array().into_iter().flatten() {
            // Other golden files are about advantages, weights, reference points.
            if case["normalizer"].is_object() {
                let loss = case["of"].as_str().or(cases["loss"].as_str());
                vectors.push(vector(loss.unwrap_or(""), case).map_err(within)?);
            }
        }
    }
    let path = folder.join("vectors.json");
    fs::write(&path, json!(vectors).to_string())
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// One case: what a host passes, and what comes back.
fn vector(name: &str, case: &Value) -> Result<Value, String> {
    let within = |error: String| format!("{name}, {}: {error}", case["name"]);
    let params: Params = serde_json::from_value(case["params"].clone())
        .map_err(|error| within(error.to_string()))?;
    let loss = Loss::new(name, &params).map_err(|error| within(error.to_string()))?;
    let list = case["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<Row> = list.iter().map(|row| self::row(row, case)).collect();
    let tokens = tokens(&case["tokens"]);
    let count = |key: &str| case["normalizer"][key].as_f64();
    let all_tokens = count("tokens").unwrap_or(0.0);
    let norm = Normalizer {
        units: count("units").unwrap_or(0.0),
        tokens: all_tokens,
        desirable_tokens: count("desirable_tokens").unwrap_or(all_tokens),
    };
    let batch = Batch {
        rows: &rows,
        tokens: tokens.view(),
    };
    let found = evaluate(&loss, batch, &norm).map_err(|error| within(error.to_string()))?;
    let zones: Vec<u8> = found.zones.iter().map(zone).collect();
    Ok(json!({
        "name": case["name"],
        "loss": name,
        "params": case["params"],
        "columns": columns(list, &rows, &tokens),
        "counts": [norm.units, norm.tokens, norm.desirable_tokens],
        "expected": {
            "loss": found.loss,
            "slopes": if loss.per_token() { &found.token_dlogps } else { &found.dlogps },
            "rewards": found.rewards,
            "zones": zones,
        },
    }))
}

fn row(given: &Value, case: &Value) -> Row {
    let number = |key: &str, otherwise: f64| given[key].as_f64().unwrap_or(otherwise);
    Row {
        logp: number("logp", 0.0),
        ref_logp: number("ref_logp", 0.0),
        old_logp: number("old_logp", 0.0),
        tokens: number("tokens", 0.0) as u32,
        label: match given["label"] == "undesirable" {
            true => Label::Undesirable,
            false => Label::Desirable,
        },
        group: 0,
        score: number("score", 0.0),
        advantage: number("advantage", 0.0),
        weight: number("weight", 1.0),
        beta_scale: number("beta_scale", 1.0),
        z0: number("z0", case["reference_point"].as_f64().unwrap_or(0.0)),
    }
}

fn tokens(given: &Value) -> TokenColumns {
    let numbers = |key: &str| {
        given[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect()
    };
    TokenColumns {
        logps: numbers("logps"),
        ref_logps: numbers("ref_logps"),
        old_logps: numbers("old_logps"),
        log_collisions: numbers("log_collisions"),
    }
}

/// The columns of halo_batch that the case speaks of.
fn columns(given: &[Value], rows: &[Row], tokens: &TokenColumns) -> Value {
    let says = |key: &str| given.iter().any(|row| row.get(key).is_some());
    let of = |value: fn(&Row) -> f64| json!(rows.iter().map(value).collect::<Vec<f64>>());
    let mut columns = Map::new();
    let labels: Vec<i8> = rows.iter().map(|row| row.label.sign() as i8).collect();
    columns.insert("label".into(), json!(labels));
    columns.insert("logp".into(), of(|row| row.logp));
    columns.insert("ref_logp".into(), of(|row| row.ref_logp));
    columns.insert("refpoint".into(), of(|row| row.z0));
    let lengths: Vec<u32> = rows.iter().map(|row| row.tokens).collect();
    columns.insert("tokens".into(), json!(lengths));
    type Column = (&'static str, &'static str, fn(&Row) -> f64);
    let optional: [Column; 5] = [
        ("old_logp", "old_logp", |row| row.old_logp),
        ("score", "reward", |row| row.score),
        ("advantage", "advantage", |row| row.advantage),
        ("weight", "weight", |row| row.weight),
        ("beta_scale", "beta_scale", |row| row.beta_scale),
    ];
    for (key, column, value) in optional {
        if says(key) {
            columns.insert(column.into(), of(value));
        }
    }
    if !tokens.logps.is_empty() {
        let ends = lengths.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        let offsets: Vec<u32> = std::iter::once(0).chain(ends).collect();
        columns.insert("offsets".into(), json!(offsets));
    }
    for (column, values) in [
        ("token_logp", &tokens.logps),
        ("token_ref_logp", &tokens.ref_logps),
        ("token_old_logp", &tokens.old_logps),
        ("token_log_collision", &tokens.log_collisions),
    ] {
        if !values.is_empty() {
            columns.insert(column.into(), json!(values));
        }
    }
    Value::Object(columns)
}

/// As HALO_ZONE_* count them.
fn zone(zone: &Zone) -> u8 {
    match zone {
        Zone::Learnt => 0,
        Zone::Active => 1,
        Zone::GivenUp => 2,
    }
}
