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
    let read = Read::of(loss);
    for (index, row) in batch.rows.iter().enumerate() {
        read.check(index, row)?;
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

/// Which fields a loss reads beyond the policy's: asked once a batch, not once a row.
struct Read {
    ref_logp: bool,
    old_logp: bool,
    advantage: bool,
    score: bool,
    tokens: bool,
}

impl Read {
    fn of(loss: &Loss) -> Read {
        Read {
            ref_logp: loss.needs(Need::Reference),
            old_logp: loss.needs(Need::OldLogps),
            advantage: loss.needs(Need::Advantages),
            score: loss.needs(Need::Scores),
            tokens: loss.needs(Need::Lengths),
        }
    }

    #[inline]
    fn check(&self, index: usize, row: &Row) -> Result<(), Error> {
        // A number that is not finite makes no finite sum; what is finite after all passes below.
        let read = |needed: bool, number: f64| if needed { number } else { 0.0 };
        let sum = row.logp
            + read(self.ref_logp, row.ref_logp)
            + read(self.old_logp, row.old_logp)
            + read(self.advantage, row.advantage)
            + read(self.score, row.score)
            + (row.z0 + row.weight + row.beta_scale);
        let positive = row.weight >= 0.0 && row.beta_scale > 0.0;
        match sum.is_finite() && positive && (row.tokens > 0 || !self.tokens) {
            true => Ok(()),
            false => self.explain(index, row),
        }
    }

    /// What of a row is wrong, if anything is.
    #[cold]
    fn explain(&self, index: usize, row: &Row) -> Result<(), Error> {
        let numbers = [
            ("logp", row.logp, true),
            ("ref_logp", row.ref_logp, self.ref_logp),
            ("old_logp", row.old_logp, self.old_logp),
            ("advantage", row.advantage, self.advantage),
            ("score", row.score, self.score),
            ("z0", row.z0, true),
            ("weight", row.weight, true),
            ("beta_scale", row.beta_scale, true),
        ];
        for (name, value, needed) in numbers {
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
        if self.tokens && row.tokens == 0 {
            let message = "the completion has no tokens";
            return Err(Error::at_row("tokens", index, message));
        }
        Ok(())
    }
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
