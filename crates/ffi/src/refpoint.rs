//! Reference points in split phase: accumulate on every rank, sum over the ranks, finish once a step.

mod state;

use std::ffi::{c_char, c_void};

use ::halo_loss::Estimator;

use crate::batch::{Columns, Role, halo_batch};
use crate::blob::{Blob, halo_blob};
use crate::failure::Failure;
use crate::guard::{guard, guard_or};
use crate::handle::{Handle, opaque};
use crate::intake::Sized32;
use crate::loss::halo_loss;
use crate::status::*;
use state::{RefPoint, saved, settings};

/// An estimator of z0, with what it remembers of earlier steps.
pub struct halo_refpoint(Handle<RefPoint>);
opaque!(halo_refpoint, RefPoint);

/// A reference point.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_refpoint_value {
    /// sizeof(halo_refpoint_value) as the host compiled it.
    pub struct_size: u32,
    /// Out: 1 = raw was cut to value.
    pub clamped: u32,
    /// Out: z0, nats.
    pub value: f64,
    /// Out: before the clamp.
    pub raw: f64,
}
// SAFETY: numbers without padding, the size first.
unsafe impl Sized32 for halo_refpoint_value {
    const NAME: &'static str = "halo_refpoint_value";
}

/// The estimator of a name, such as "mismatch". JSON: length_average (false), clamp (its own habit), decay (of ema), window (of
/// ring_buffer); NULL or "" = all defaults. For the estimator that a loss is set to, see halo_refpoint_of_loss.
///
/// @since 0.1
/// @null params_json
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_new(
    name: *const c_char,
    params_json: *const c_char,
    out: *mut *mut halo_refpoint,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let name = host.text(0, "name", name)?;
            let settings = settings(host, 1, params_json)?;
            let out = host.out(2, "out", out)?;
            let estimator =
                Estimator::new(name).map_err(|error| Failure::from(error).argument(0))?;
            let clamp = settings.clamp.unwrap_or(estimator.clamps());
            let estimator = estimator
                .length_average(settings.length_average)
                .clamp(clamp)
                .memory(settings.decay, settings.window);
            out.give(RefPoint::new(estimator, None));
            Ok(())
        })
    }
}

/// The estimator that a loss is set to, seeing rows through the loss's modifiers. HALO_E_NOT_FOUND for a loss that has none.
///
/// @since 0.1
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_of_loss(
    loss: *const halo_loss,
    out: *mut *mut halo_refpoint,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (loss, out) = (host.shared(0, loss)?, host.out(1, "out", out)?);
            let Some(estimator) = loss.reference_point() else {
                let message = format!("{} has no reference point", loss.name());
                let failure = Failure::new(HALO_E_NOT_FOUND, "loss.reference_point", message);
                return Err(failure.argument(0));
            };
            out.give(RefPoint::new(estimator, Some(loss.clone())));
            Ok(())
        })
    }
}

/// How many numbers its sums are, for rows whose groups are 1 to `groups`; most estimators do not look at groups: pass 0 then.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_width(point: *const halo_refpoint, groups: usize) -> usize {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard_or(0, |host| {
            let width = |point: &RefPoint| point.estimator.sums(groups).len();
            host.shared(0, point).map_or(0, |point| width(&point))
        })
    }
}

/// Adds a batch to acc: its HALO_ROLE_MISMATCH rows or its scored rows, as the estimator reads. The host zeroes acc before the
/// step, and sums it over the ranks before halo_refpoint_finish.
///
/// @since 0.1
/// @inout acc
/// @len acc width
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_accumulate(
    point: *const halo_refpoint,
    batch: *const halo_batch,
    acc: *mut f64,
    width: usize,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let point = host.shared(0, point)?;
            let columns = Columns::read(host, 1, batch)?;
            let mut sums = host.slice(2, "acc", acc.cast_const(), width)?.to_vec();
            let out = host.outs(2, "acc", acc, width)?;
            let (rows, observed) = point.observe(&columns, width)?;
            point.estimator.accumulate(&mut sums, &rows.rows, &observed);
            out.write(sums);
            Ok(())
        })
    }
}

/// The point that the sums of all ranks give. Once an optimizer step: moving averages move here.
///
/// @since 0.1
/// @len acc width
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_finish(
    point: *mut halo_refpoint,
    acc: *const f64,
    width: usize,
    value: *mut halo_refpoint_value,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut point = host.exclusive(0, point)?;
            let acc = host.slice(1, "acc", acc, width)?;
            let mut value = host.result(3, value)?;
            point.fits(width, 2)?;
            if let Some(at) = acc.iter().position(|sum| !sum.is_finite()) {
                let message = format!("acc[{at}] = {} is not finite", acc[at]);
                return Err(Failure::new(HALO_E_NONFINITE, "acc", message).argument(1));
            }
            let mut memory = point.memory.clone();
            let result = point.estimator.finish(acc, &mut memory);
            point.memory = memory;
            point.last = Some((acc.to_vec(), result));
            value.value = halo_refpoint_value {
                struct_size: 0,
                clamped: u32::from(result.clamped > 0.0),
                value: result.value,
                raw: result.raw,
            };
            value.write();
            Ok(())
        })
    }
}

/// z0 for each row of a batch, after halo_refpoint_finish: one for all, or its own where the estimator leaves the row out. Rows
/// that are not scored get 0.
///
/// @since 0.1
/// @len row_values count
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_apply(
    point: *const halo_refpoint,
    batch: *const halo_batch,
    row_values: *mut f64,
    count: usize,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let point = host.shared(0, point)?;
            let columns = Columns::read(host, 1, batch)?;
            if count != columns.batch.rows {
                let message = format!(
                    "count = {count}, but the batch has {} rows",
                    columns.batch.rows
                );
                return Err(Failure::new(HALO_E_SHAPE, "count", message).argument(3));
            }
            let out = host.required_outs(2, "row_values", row_values, count)?;
            let Some((sums, last)) = &point.last else {
                let message = "apply needs the sums of the step: call halo_refpoint_finish first";
                return Err(Failure::new(HALO_E_STATE, "refpoint", message).argument(0));
            };
            let mut scored = columns.rows(Role::Scored, false);
            let observed = match point.estimator.per_row() {
                true => {
                    let (rows, observed) = point.observe(&columns, sums.len())?;
                    if rows.rows.len() != scored.rows.len() {
                        let message = "the batch needs a mismatched row for each scored row, in the same order";
                        return Err(columns.refuse("batch.role", HALO_E_SHAPE, message.into()));
                    }
                    columns.groups(&mut scored, point.fits(sums.len(), 0)?)?;
                    observed
                }
                false => Vec::new(),
            };
            point
                .estimator
                .assign(last, sums, &mut scored.rows, &observed);
            let mut all = vec![0.0; count];
            scored
                .source
                .iter()
                .zip(&scored.rows)
                .for_each(|(&at, row)| all[at] = row.z0);
            out.write(all);
            Ok(())
        })
    }
}

/// What the estimator remembers, for halo_refpoint_load in a later process.
///
/// @since 0.1
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_save(
    point: *const halo_refpoint,
    out: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (point, out) = (host.shared(0, point)?, host.blob(1, "out", out)?);
            out.give(Blob::new(&point.save()?));
            Ok(())
        })
    }
}

/// Goes on where halo_refpoint_save left off. On failure nothing has changed.
///
/// @since 0.1
/// @len data len
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_load(
    point: *mut halo_refpoint,
    data: *const c_void,
    len: usize,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut point = host.exclusive(0, point)?;
            let text = host.slice(1, "data", data.cast::<u8>(), len)?;
            point.memory =
                saved(text, point.estimator.name()).map_err(|failure| failure.argument(1))?;
            point.last = None;
            Ok(())
        })
    }
}

/// Frees an estimator; NULL is nothing to free.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_refpoint_free(point: *mut halo_refpoint) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { guard_or((), |host| host.free(point)) }
}
