//! Weighted sums of losses: `0.8*dpo + 0.2*bco_pair + sft`.
//!
//! All terms read the same rows. A term that reads any data (a likelihood) beside terms that judge it imitates the chosen or
//! desirable rows only: its sum over their tokens is divided by the count of those tokens.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::error::Error;
use crate::loss::{self, Loss, Part};
use crate::params::{ParamValue, Params};
use crate::spec::{DataShape, Need};

/// The terms of a weighted sum; `None` for a single name.
///
/// # Errors
/// A weight that is no positive number; a term without a name.
pub(crate) fn terms(name: &str) -> Result<Option<Vec<(f64, &str)>>, Error> {
    if !name.contains(['+', '*']) {
        return Ok(None);
    }
    let term = |term| {
        let (weight, loss) = match str::split_once(term, '*') {
            None => (1.0, term),
            Some((weight, loss)) => match ParamValue::parse(weight) {
                ParamValue::Number(weight) if weight > 0.0 && weight.is_finite() => (weight, loss),
                _ => {
                    let message =
                        format!("{:?} in {name:?} is not a positive weight", weight.trim());
                    return Err(Error::parameter("loss", message));
                }
            },
        };
        Ok((weight, loss.trim()))
    };
    name.split('+')
        .map(term)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Puts a sum together.
///
/// # Errors
/// Those of its losses; a loss that stands twice; data shapes that differ; two reference points; a parameter without its loss's
/// name before it, or of a loss that is not in the sum.
pub(crate) fn build(terms: &[(f64, &str)], params: &Params) -> Result<Loss, Error> {
    let (mut parts, mut resolved, mut name) = (Vec::new(), Params::new(), String::new());
    for (index, (weight, loss)) in terms.iter().enumerate() {
        let mut own = Params::new();
        for (key, value) in params.iter() {
            if let Some(key) = key
                .strip_prefix(loss)
                .and_then(|rest| rest.strip_prefix('.'))
            {
                own.set(key, value.clone());
            }
        }
        let (mut part, all) = loss::part(loss, &own)?;
        part.weight = *weight;
        for (key, value) in all.iter() {
            resolved.set(&format!("{loss}.{key}"), value.clone());
        }
        if terms[..index].iter().any(|(_, other)| other == loss) {
            return Err(Error::parameter(
                "loss",
                format!("{loss} stands twice in the sum"),
            ));
        }
        name += if index == 0 { "" } else { " + " };
        // a sum of one stays a sum: its parameters carry the loss's name
        name += &match *weight == 1.0 && terms.len() > 1 {
            true => loss.to_string(),
            false => format!("{}*{loss}", ParamValue::Number(*weight)),
        };
        parts.push(part);
    }
    if let Some((key, _)) = params.iter().find(|(key, _)| resolved.get(key).is_none()) {
        let known: Vec<&str> = resolved.iter().map(|(key, _)| key).collect();
        let message = format!(
            "{name}: unknown parameter {key:?}; known: {}",
            known.join(", ")
        );
        return Err(Error::parameter(key, message));
    }
    let shapes = parts.iter().map(|part| part.spec.shape);
    let judging: Vec<DataShape> = shapes.filter(|shape| *shape != DataShape::Any).collect();
    if judging.windows(2).any(|two| two[0] != two[1]) {
        let message = format!("{name}: its losses read data of different shapes");
        return Err(Error::parameter("loss", message));
    }
    let estimates = |part: &&Part| part.built.needs.contains(&Need::ReferencePoint);
    let estimators = parts.iter().filter(estimates);
    if estimators.count() > 1 {
        let message = format!("{name}: two of its losses estimate a reference point; one can");
        return Err(Error::parameter("loss", message));
    }
    Ok(Loss::sum(name, resolved, parts))
}
