//! The registry as JSON: all that the page knows of a loss before it asks for numbers.

use halo_loss::curve::Curve;
use halo_loss::value::{self, CHORD};
use halo_loss::{DataShape, Loss, Need, ParamKind, Params, Spec, registry};

use crate::json::Json;
use crate::params;

/// Every loss with its parameters, and what the page begins with.
///
/// # Errors
/// None, for a registry whose defaults are valid.
pub fn catalogue() -> Result<String, String> {
    let mut entries = Vec::new();
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).map_err(|e| e.to_string())?;
        let curve = Curve::new(&loss, 100).map_err(|e| e.to_string())?;
        entries.push((*spec, loss, curve));
    }
    Ok(Json::object(|json| {
        json.text("version", env!("CARGO_PKG_VERSION"));
        json.texts("values", value::NAMES.iter().copied());
        json.number("chord", CHORD);
        // What a visitor sees first: the first loss of each way to judge.
        json.texts("pins", firsts());
        json.each("losses", &entries, |json, (spec, loss, curve)| {
            entry(json, spec, loss, curve);
        });
    }))
}

fn firsts() -> Vec<&'static str> {
    let first = |shape| registry().iter().find(|spec| spec.shape == shape);
    let shapes = [DataShape::Unpaired, DataShape::Paired];
    shapes
        .into_iter()
        .filter_map(first)
        .map(|spec| spec.name)
        .collect()
}

fn entry(json: &mut Json, spec: &Spec, loss: &Loss, curve: &Curve) {
    json.text("name", spec.name);
    json.text("title", spec.title);
    json.text("shape", shape(spec.shape));
    let needs = Need::ALL.into_iter().filter(|need| loss.needs(*need));
    json.texts("needs", needs.map(need));
    json.text("formula", spec.formula);
    json.text("paper", spec.paper);
    json.text("arxiv", spec.arxiv);
    json.text("when", spec.when_to_use);
    json.text("elsewhere", spec.implementations);
    json.text("unit", curve.unit());
    json.text("axis", curve.axis());
    json.text("compared", curve.compared_with());
    json.flag("perToken", curve.scale() != 1.0);
    json.flag("referencePoint", loss.reference_point().is_some());
    let own = spec.params.len();
    json.each(
        "params",
        spec.all_params().enumerate(),
        |json, (at, param)| {
            json.text("name", param.name);
            json.text("meaning", param.meaning);
            json.number("default", params::number(&param.kind, &param.default()));
            json.flag("modifier", at >= own);
            match param.kind {
                ParamKind::Number { range, .. } => {
                    json.text("type", "number");
                    json.numbers("range", [range.low, range.high]);
                }
                ParamKind::Choice { choices, .. } => {
                    json.text("type", "choice");
                    json.texts("choices", choices.iter().copied());
                }
                ParamKind::Flag { .. } => json.text("type", "flag"),
            }
        },
    );
}

fn shape(shape: DataShape) -> &'static str {
    match shape {
        DataShape::Any => "any",
        DataShape::Unpaired => "unpaired",
        DataShape::Paired => "paired",
        DataShape::Grouped => "grouped",
    }
}

fn need(need: Need) -> &'static str {
    match need {
        Need::Reference => "reference",
        Need::ReferencePoint => "reference point",
        Need::Lengths => "tokens",
        Need::TokenLogps => "log-probabilities of each token",
        Need::Advantages => "advantages",
        Need::OldLogps => "log-probabilities at sampling",
        Need::VocabStats => "statistics over the vocabulary",
        Need::Scores => "scores of a reward head",
        Need::Errors => "denoising errors",
        Need::ControlTokens => "control tokens",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_loss_stands_in_the_catalogue() {
        let text = super::catalogue().unwrap();
        for spec in halo_loss::registry() {
            assert!(text.contains(&format!("{{\"name\":\"{}\"", spec.name)));
        }
        assert!(!text.contains("null"), "every default is a number");
    }
}
