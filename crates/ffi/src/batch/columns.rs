//! The host's columns, checked: pointers became slices, and their lengths fit each other.

use std::ffi::c_void;

use super::{HALO_F32, HALO_F64, HALO_ROLE_MISMATCH, halo_batch};
use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::status::*;

/// Numbers of either precision.
#[derive(Clone, Copy)]
pub(crate) enum Numbers<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

impl Numbers<'_> {
    pub(crate) fn get(&self, at: usize) -> f64 {
        match self {
            Numbers::Single(numbers) => f64::from(numbers[at]),
            Numbers::Double(numbers) => numbers[at],
        }
    }
}

/// What a batch says in single numbers; see [`halo_batch`].
#[derive(Clone, Copy)]
pub(crate) struct Scalars {
    pub(crate) dtype: u32,
    pub(crate) rows: usize,
    pub(crate) common_refpoint: f64,
    pub(crate) global_count: f64,
    pub(crate) global_tokens: f64,
    pub(crate) global_desirable_tokens: f64,
    pub(crate) grad_scale: f64,
}

/// A batch whose pointers were followed.
pub(crate) struct Columns<'a> {
    /// The argument that the batch was, for errors.
    pub(crate) argument: usize,
    pub(crate) batch: Scalars,
    pub(crate) label: Option<&'a [i8]>,
    pub(crate) role: Option<&'a [u8]>,
    pub(crate) group: Option<&'a [u64]>,
    pub(crate) tokens: Option<&'a [i32]>,
    pub(crate) logp: Option<Numbers<'a>>,
    pub(crate) ref_logp: Option<Numbers<'a>>,
    pub(crate) old_logp: Option<Numbers<'a>>,
    pub(crate) reward: Option<Numbers<'a>>,
    pub(crate) advantage: Option<Numbers<'a>>,
    pub(crate) weight: Option<Numbers<'a>>,
    pub(crate) beta_scale: Option<Numbers<'a>>,
    pub(crate) refpoint: Option<&'a [f64]>,
    pub(crate) offsets: Option<&'a [i64]>,
    pub(crate) mask: Option<&'a [u8]>,
    pub(crate) token_logp: Option<Numbers<'a>>,
    pub(crate) token_ref_logp: Option<Numbers<'a>>,
    pub(crate) token_old_logp: Option<Numbers<'a>>,
    pub(crate) token_log_collision: Option<Numbers<'a>>,
    /// Tokens of all rows, masked ones included.
    pub(crate) total: usize,
}

impl<'a> Columns<'a> {
    /// # Errors
    /// A batch whose size, dtype, pointers, offsets, labels or roles are none.
    pub(crate) fn read(
        host: &'a Host,
        argument: usize,
        batch: *const halo_batch,
    ) -> Outcome<Columns<'a>> {
        let batch = host.options(argument, batch)?;
        let rows = batch.rows;
        let refuse = |code, site: &str, message: String| {
            Failure::new(code, site, message).argument(argument)
        };
        if rows > 0 && ![HALO_F32, HALO_F64].contains(&batch.dtype) {
            let message = format!("batch.dtype = {} is not HALO_F32 or HALO_F64", batch.dtype);
            return Err(refuse(HALO_E_DTYPE, "batch.dtype", message));
        }
        if rows > u32::MAX as usize {
            let message = format!("batch.rows = {rows} is more than 2^32 - 1");
            return Err(refuse(HALO_E_SHAPE, "batch.rows", message));
        }
        let offsets: Option<&[i64]> =
            host.column(argument, "batch.offsets", batch.offsets, rows + 1)?;
        let total = total(offsets).map_err(|failure| failure.argument(argument))?;
        let of_rows = |name, start| numbers(host, argument, name, batch.dtype, start, rows);
        let of_tokens = |name, start: *const c_void| match (offsets, start.is_null()) {
            (None, false) => {
                let message = format!("{name} is given, but batch.offsets is NULL");
                Err(refuse(HALO_E_INVALID_ARGUMENT, name, message))
            }
            _ => numbers(host, argument, name, batch.dtype, start, total),
        };
        let columns = Columns {
            argument,
            label: host.column(argument, "batch.label", batch.label, rows)?,
            role: host.column(argument, "batch.role", batch.role, rows)?,
            group: host.column(argument, "batch.group", batch.group, rows)?,
            tokens: host.column(argument, "batch.tokens", batch.tokens, rows)?,
            logp: of_rows("batch.logp", batch.logp)?,
            ref_logp: of_rows("batch.ref_logp", batch.ref_logp)?,
            old_logp: of_rows("batch.old_logp", batch.old_logp)?,
            reward: of_rows("batch.reward", batch.reward)?,
            advantage: of_rows("batch.advantage", batch.advantage)?,
            weight: of_rows("batch.weight", batch.weight)?,
            beta_scale: of_rows("batch.beta_scale", batch.beta_scale)?,
            refpoint: host.column(argument, "batch.refpoint", batch.refpoint, rows)?,
            offsets,
            mask: host.column(argument, "batch.token_mask", batch.token_mask, total)?,
            token_logp: of_tokens("batch.token_logp", batch.token_logp)?,
            token_ref_logp: of_tokens("batch.token_ref_logp", batch.token_ref_logp)?,
            token_old_logp: of_tokens("batch.token_old_logp", batch.token_old_logp)?,
            token_log_collision: of_tokens("batch.token_log_collision", batch.token_log_collision)?,
            total,
            batch: Scalars {
                dtype: batch.dtype,
                rows,
                common_refpoint: batch.common_refpoint,
                global_count: batch.global_count,
                global_tokens: batch.global_tokens,
                global_desirable_tokens: batch.global_desirable_tokens,
                grad_scale: batch.grad_scale,
            },
        };
        columns.check()?;
        Ok(columns)
    }

    fn check(&self) -> Outcome {
        let fail = |site: &str, row: usize, code, message: String| {
            let failure = Failure::new(code, site, format!("row {row}: {message}"));
            Err(failure.argument(self.argument).example(row))
        };
        if let Some((row, label)) = find(self.label, |label| ![1, -1].contains(label)) {
            let message = format!("batch.label = {label} is not +1 or -1");
            return fail("batch.label", row, HALO_E_INVALID_ARGUMENT, message);
        }
        if let Some((row, role)) = find(self.role, |role| *role > HALO_ROLE_MISMATCH) {
            let message = format!("batch.role = {role} is not one that this version knows");
            return fail("batch.role", row, HALO_E_UNSUPPORTED, message);
        }
        if let Some((row, count)) = find(self.tokens, |count| *count < 0) {
            let message = format!("batch.tokens = {count} is negative");
            return fail("batch.tokens", row, HALO_E_INVALID_ARGUMENT, message);
        }
        Ok(())
    }

    /// How a missing or unusable column is refused.
    pub(crate) fn refuse(&self, site: &str, code: halo_status, message: String) -> Failure {
        Failure::new(code, site, message).argument(self.argument)
    }
}

/// The first element that is wrong.
fn find<T: Copy>(column: Option<&[T]>, wrong: impl Fn(&T) -> bool) -> Option<(usize, T)> {
    let column = column?;
    let row = column.iter().position(wrong)?;
    Some((row, column[row]))
}

/// How many tokens there are.
fn total(offsets: Option<&[i64]>) -> Outcome<usize> {
    let Some(offsets) = offsets else {
        return Ok(0);
    };
    let fail = |row: usize, what: String| {
        let failure = Failure::new(HALO_E_SHAPE, "batch.offsets", what);
        Err(failure.example(row))
    };
    if offsets[0] != 0 {
        return fail(0, format!("batch.offsets[0] = {} is not 0", offsets[0]));
    }
    let falls = |pair: &[i64]| pair[1] < pair[0] || pair[1] - pair[0] > i64::from(u32::MAX);
    match offsets.windows(2).position(falls) {
        Some(row) => fail(
            row,
            format!(
                "batch.offsets[{}] = {} does not follow {}",
                row + 1,
                offsets[row + 1],
                offsets[row]
            ),
        ),
        None => Ok(offsets[offsets.len() - 1] as usize),
    }
}

fn numbers<'a>(
    host: &'a Host,
    argument: usize,
    name: &'static str,
    dtype: u32,
    start: *const c_void,
    len: usize,
) -> Outcome<Option<Numbers<'a>>> {
    Ok(match dtype {
        HALO_F64 => host
            .column(argument, name, start.cast(), len)?
            .map(Numbers::Double),
        _ => host
            .column(argument, name, start.cast(), len)?
            .map(Numbers::Single),
    })
}
