//! A record of the host, read.

use super::records::{Content, Row};
use super::{HALO_RECORD_SCORE, halo_record, halo_str};
use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::status::*;

/// # Errors
/// What is no record; the caller says which one.
pub(super) fn read(host: &Host, record: &halo_record) -> Outcome<Row> {
    if record.flags & !HALO_RECORD_SCORE != 0 {
        let message = format!("flags = {:#x} has a bit that is not known", record.flags);
        return Err(Failure::new(HALO_E_UNSUPPORTED, "record.flags", message));
    }
    let id = text(host, "record.id", record.id)?.to_string();
    let content = content(host, record)?;
    let scored = match &content {
        Content::Tokens { prompt, completion } => {
            Some(completion.len() - usize::from(prompt.is_empty()))
        }
        Content::Text { .. } => None,
    };
    Ok(Row {
        id: Some(id).filter(|id| !id.is_empty()),
        label: match record.label {
            label @ -1..=1 => label,
            label => {
                let message = format!("label = {label} is not +1, -1 or 0");
                return Err(Failure::new(
                    HALO_E_INVALID_ARGUMENT,
                    "record.label",
                    message,
                ));
            }
        },
        group: record.group,
        score: match record.flags & HALO_RECORD_SCORE {
            0 => None,
            _ => Some(finite("record.score", record.score)?),
        },
        weight: or_one("record.weight", record.weight)?,
        beta_scale: or_one("record.beta_scale", record.beta_scale)?,
        old_logps: old_logps(host, record, scored)?,
        content,
    })
}

fn content(host: &Host, record: &halo_record) -> Outcome<Content> {
    let refuse = |code, site: &str, message: String| Err(Failure::new(code, site, message));
    let prompt = text(host, "record.prompt", record.prompt)?;
    let completion = text(host, "record.completion", record.completion)?;
    let tokens = host.slice(1, "record.tokens", record.tokens, record.token_count)?;
    if tokens.is_empty() {
        if completion.is_empty() {
            let message = "the record has neither tokens nor a completion".into();
            return refuse(HALO_E_DATA, "record.completion", message);
        }
        return super::full::text(prompt, completion);
    }
    if !(prompt.is_empty() && completion.is_empty()) {
        let message = "the record has tokens and text: give one of them".into();
        return refuse(HALO_E_INVALID_ARGUMENT, "record.tokens", message);
    }
    let Some((prompt, completion)) = tokens.split_at_checked(record.prompt_tokens) else {
        let (prompt, all) = (record.prompt_tokens, tokens.len());
        let message = format!("prompt_tokens = {prompt} of {all} tokens");
        return refuse(HALO_E_SHAPE, "record.prompt_tokens", message);
    };
    if completion.len() <= usize::from(prompt.is_empty()) {
        let message = match prompt.is_empty() {
            true => "without a prompt the completion needs two tokens: the first is context",
            false => "prompt_tokens leaves no token for the completion",
        };
        return refuse(HALO_E_DATA, "record.prompt_tokens", message.into());
    }
    if let Some(token) = tokens.iter().find(|token| **token < 0) {
        let message = format!("token {token} is negative");
        return refuse(HALO_E_INVALID_ARGUMENT, "record.tokens", message);
    }
    let unsigned = |tokens: &[i32]| tokens.iter().map(|token| *token as u32).collect();
    Ok(Content::Tokens {
        prompt: unsigned(prompt),
        completion: unsigned(completion),
    })
}

/// `scored`: how many tokens are scored; not known of text.
fn old_logps(host: &Host, record: &halo_record, scored: Option<usize>) -> Outcome<Vec<f64>> {
    const SITE: &str = "record.old_logps";
    let logps = host.slice(1, SITE, record.old_logps, record.old_logp_count)?;
    match (logps.len(), scored) {
        (0, _) => return Ok(Vec::new()),
        (_, None) => {
            let message = "old_logps belong to tokens, and this record is text";
            return Err(Failure::new(HALO_E_INVALID_ARGUMENT, SITE, message));
        }
        (given, Some(scored)) if given != scored => {
            let message = format!("{given} old_logps for {scored} scored tokens");
            return Err(Failure::new(HALO_E_SHAPE, SITE, message));
        }
        _ => {}
    }
    logps.iter().map(|logp| finite(SITE, *logp)).collect()
}

fn text<'a>(host: &'a Host, name: &'static str, text: halo_str) -> Outcome<&'a str> {
    host.sized_text(1, name, text.data, text.len)
}

fn finite(site: &str, number: f64) -> Outcome<f64> {
    match number.is_finite() {
        true => Ok(number),
        false => {
            let message = format!("{site} = {number} is not finite");
            Err(Failure::new(HALO_E_NONFINITE, site, message))
        }
    }
}

/// A factor, whose 0 stands for 1.
fn or_one(site: &str, number: f64) -> Outcome<f64> {
    match finite(site, number)? {
        0.0 => Ok(1.0),
        number if number > 0.0 => Ok(number),
        number => {
            let message = format!("{site} = {number} is negative");
            Err(Failure::new(HALO_E_INVALID_ARGUMENT, site, message))
        }
    }
}
