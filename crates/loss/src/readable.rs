//! Whether a loss can read a batch: checked before anything is computed.

use alloc::format;
use alloc::string::String;

use crate::error::Error;
use crate::example::{Batch, Label, Row};
use crate::loss::Loss;
use crate::spec::{DataShape, Need};

/// # Errors
/// Rows that do not fill units; a number that is not finite, an empty completion, a label out of turn: each by row; a column of
/// tokens that is missing or has another length than the rows say.
pub(crate) fn check(loss: &Loss, batch: &Batch) -> Result<(), Error> {
    let size = loss.rows_per_unit();
    if !batch.rows.len().is_multiple_of(size) {
        let (name, count) = (loss.name(), batch.rows.len());
        let message = format!("{name} needs rows in groups of {size}, got {count}");
        return Err(Error::data("rows", message));
    }
    let paired = loss.data_shape() == DataShape::Paired;
    for (index, row) in batch.rows.iter().enumerate() {
        check_row(loss, index, row)?;
        let expected = match index % 2 {
            0 => Label::Desirable,
            _ => Label::Undesirable,
        };
        if paired && row.label != expected {
            let message = "pairs are rows of chosen (desirable), rejected (undesirable), in turn";
            return Err(Error::at_row("label", index, message));
        }
    }
    check_tokens(loss, batch)
}

fn check_row(loss: &Loss, index: usize, row: &Row) -> Result<(), Error> {
    let read = [
        ("logp", row.logp, true),
        ("ref_logp", row.ref_logp, loss.needs(Need::Reference)),
        ("old_logp", row.old_logp, loss.needs(Need::OldLogps)),
        ("advantage", row.advantage, loss.needs(Need::Advantages)),
        ("score", row.score, loss.needs(Need::Scores)),
        ("z0", row.z0, true),
        ("weight", row.weight, true),
        ("beta_scale", row.beta_scale, true),
    ];
    for (name, value, needed) in read {
        if needed && !value.is_finite() {
            let message = format!("{name} = {value} is not finite");
            return Err(Error::nonfinite(name, index, message));
        }
    }
    if row.weight < 0.0 {
        let message = format!("weight = {} is negative", row.weight);
        return Err(Error::at_row("weight", index, message));
    }
    if row.beta_scale <= 0.0 {
        let message = format!("beta_scale = {} is not positive", row.beta_scale);
        return Err(Error::at_row("beta_scale", index, message));
    }
    if loss.needs(Need::Lengths) && row.tokens == 0 {
        let message = "the completion has no tokens";
        return Err(Error::at_row("tokens", index, message));
    }
    Ok(())
}

pub(crate) fn check_tokens(loss: &Loss, batch: &Batch) -> Result<(), Error> {
    if !loss.needs(Need::TokenLogps) {
        return Ok(());
    }
    let wanted: usize = batch.rows.iter().map(|row| row.tokens as usize).sum();
    let tokens = &batch.tokens;
    let columns = [
        ("logps", tokens.logps, true),
        ("ref_logps", tokens.ref_logps, loss.needs(Need::Reference)),
        ("old_logps", tokens.old_logps, loss.needs(Need::OldLogps)),
        (
            "log_collisions",
            tokens.log_collisions,
            loss.needs(Need::VocabStats),
        ),
    ];
    for (name, column, needed) in columns {
        if !needed {
            continue;
        }
        if column.len() != wanted {
            let (name, got) = (
                loss.name(),
                format!("tokens.{name} has {} numbers", column.len()),
            );
            let message = format!("{name} reads every token: {got}, the rows have {wanted} tokens");
            return Err(Error::data("tokens", message));
        }
        if let Some(at) = column.iter().position(|x| !x.is_finite()) {
            let message: String = format!("tokens.{name}[{at}] = {} is not finite", column[at]);
            return Err(Error::nonfinite("tokens", row_of(batch.rows, at), message));
        }
    }
    Ok(())
}

fn row_of(rows: &[Row], token: usize) -> usize {
    let mut end = 0;
    let holds = |row: &Row| {
        end += row.tokens as usize;
        token < end
    };
    rows.iter().position(holds).unwrap_or_default()
}
