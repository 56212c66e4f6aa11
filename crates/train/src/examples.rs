//! What an optimiser step saw of each example: the lines of `examples.jsonl`, which the inspector reads.

use halo_loss::{Label, Loss, Need, ParamValue, Params, Row};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::records::Record;

/// The first line of `examples.jsonl`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleHeader {
    /// The loss's registered name.
    pub loss: String,
    /// All its parameters, defaults included.
    pub params: Params,
    /// Name and version of the program that writes.
    pub engine: String,
}

impl Serialize for ExampleHeader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("format", "halo.examples")?;
        map.serialize_entry("version", &1)?;
        map.serialize_entry("loss", &self.loss)?;
        map.serialize_entry("params", &self.params)?;
        map.serialize_entry("engine", &self.engine)?;
        map.end()
    }
}

/// One labelled example at one optimiser step, before the step's update. Log-probabilities are sums in nats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExampleRecord {
    /// The record's id.
    pub id: String,
    /// The optimiser step that used it, from 1.
    pub step: u64,
    /// Whether it is desirable.
    pub label: bool,
    /// The policy's log-probability of the completion.
    pub logp: f64,
    /// The reference's; absent for a loss that needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_logp: Option<f64>,
    /// Scored completion tokens.
    pub tokens: u32,
    /// The reference point that it was compared with, as used; absent for a loss without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z0: Option<f64>,
    /// The loss's weight of its class, times the example's own.
    pub weight: f64,
    /// Equal for completions of the same prompt.
    pub group: u32,
}

impl ExampleRecord {
    /// What a step saw of a record.
    pub(crate) fn new(loss: &Loss, record: &Record, step: u64, row: &Row) -> ExampleRecord {
        ExampleRecord {
            id: record.id.clone(),
            step,
            label: row.label == Label::Desirable,
            logp: row.logp,
            ref_logp: loss.needs(Need::Reference).then_some(row.ref_logp),
            tokens: row.tokens,
            z0: loss.reference_point().map(|_| row.z0),
            weight: class_weight(loss, row.label) * row.weight,
            group: record.group,
        }
    }
}

/// λ of a class: the loss's parameter of that name, or 1 for a loss that weighs all alike.
fn class_weight(loss: &Loss, label: Label) -> f64 {
    let name = match label {
        Label::Desirable => "desirable_weight",
        Label::Undesirable => "undesirable_weight",
    };
    match loss.param(name) {
        Some(ParamValue::Number(weight)) => *weight,
        _ => 1.0,
    }
}
