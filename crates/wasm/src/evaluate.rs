//! A loss on rows, whole: what the page's bits are compared by.

use halo_loss::{Batch, Label, Loss, Normalizer, Row, Tokens, Zone};

/// Numbers of a row, in this order: logp, ref_logp, old_logp, tokens, label (1 desirable), group, score, advantage, weight, beta_scale, z0.
pub const COLUMNS: usize = 11;

/// Columns per token, in this order: logps, ref_logps, old_logps, log_collisions.
pub const TOKEN_COLUMNS: usize = 4;

/// Evaluates rows, row after row, and their tokens, column after column. Gives, flat: loss, clipped, values, slopes per row, slopes per
/// token, rewards, zones.
///
/// # Errors
/// Columns of another length; rows that the loss cannot read.
pub fn evaluate(loss: &Loss, rows: &[f64], tokens: &[f64]) -> Result<Vec<f64>, String> {
    let (rows, rest) = rows.as_chunks::<COLUMNS>();
    if !rest.is_empty() || !tokens.len().is_multiple_of(TOKEN_COLUMNS) {
        return Err("columns of unequal length".into());
    }
    let rows: Vec<Row> = rows.iter().map(row).collect();
    let per = tokens.len() / TOKEN_COLUMNS;
    let column = |at: usize| &tokens[at * per..(at + 1) * per];
    let batch = Batch {
        rows: &rows,
        tokens: Tokens {
            logps: column(0),
            ref_logps: column(1),
            old_logps: column(2),
            log_collisions: column(3),
        },
    };
    let norm = Normalizer::of(loss, &rows);
    let result = halo_loss::evaluate(loss, batch, &norm).map_err(|e| e.to_string())?;
    let mut out = vec![result.loss, result.clipped as f64];
    for part in [
        &result.values,
        &result.dlogps,
        &result.token_dlogps,
        &result.rewards,
    ] {
        out.extend(part);
    }
    out.extend(result.zones.into_iter().map(zone));
    Ok(out)
}

/// A zone as a number: 0 learnt, 1 active, 2 given up.
pub(crate) fn zone(zone: Zone) -> f64 {
    match zone {
        Zone::Learnt => 0.0,
        Zone::Active => 1.0,
        Zone::GivenUp => 2.0,
    }
}

fn row(numbers: &[f64; COLUMNS]) -> Row {
    let [
        logp,
        ref_logp,
        old_logp,
        tokens,
        label,
        group,
        score,
        advantage,
        weight,
        beta_scale,
        z0,
    ] = *numbers;
    Row {
        logp,
        ref_logp,
        old_logp,
        tokens: tokens as u32,
        label: match label == 1.0 {
            true => Label::Desirable,
            false => Label::Undesirable,
        },
        group: group as u32,
        score,
        advantage,
        weight,
        beta_scale,
        z0,
    }
}
