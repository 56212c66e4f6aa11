//! Losses: value and gradient at the cut, by name.

mod blocks;
mod places;

use std::ffi::{c_char, c_void};

use ::halo_loss::{Loss, Normalizer, Params, evaluate};
use halo_train::metrics::Sums;
use serde_json::{Value, json};

use crate::batch::{Columns, Picked, halo_batch};
use crate::blob::{Blob, halo_blob};
use crate::failure::{Failure, Outcome};
use crate::guard::{guard, guard_or};
use crate::handle::{Handle, opaque};
use crate::intake::{Host, Sized32};
use crate::status::*;
use places::Places;

/// A loss with its parameters. It never changes, so many threads may use it at once.
pub struct halo_loss(Handle<Loss>);
opaque!(halo_loss, Loss);

/// The row has learnt what the loss wants: less than a hundredth of the steepest slope is left.
pub const HALO_ZONE_LEARNT: u8 = 0;
/// The row pulls.
pub const HALO_ZONE_ACTIVE: u8 = 1;
/// The loss ignores the row on its wrong side: a wrong label, or a hard case.
pub const HALO_ZONE_GIVEN_UP: u8 = 2;

/// What a loss says about a batch. The host sets the pointers that it wants; the columns have the batch's dtype.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_loss_result {
    /// sizeof(halo_loss_result) as the host compiled it.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Out: this batch's share of the global mean.
    pub loss: f64,
    /// Out: d loss / d logp; 0 where not scored. @len rows @dtype
    pub d_logp: *mut c_void,
    /// Out: the same a token; 0 where it does not count. @len tokens @dtype
    pub d_token_logp: *mut c_void,
    /// Out: before the division by the count; of a pair, all of it stands at the +1 row. @len rows @dtype
    pub row_loss: *mut c_void,
    /// Out: beta * log-ratio, or what the loss calls reward; nats. @len rows @dtype
    pub row_reward: *mut c_void,
    /// Out: HALO_ZONE_*. @len rows
    pub row_zone: *mut u8,
    /// Out: addable over batches and ranks, for halo_loss_summarize. @len metric_count
    pub metric_sums: *mut f64,
    /// halo_loss_metric_count(), or 0.
    pub metric_count: usize,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_loss_result {
    const NAME: &'static str = "halo_loss_result";
}

/// The loss of a name, such as "kto", or a weighted sum, such as "dpo + 0.5*sft". Parameters as JSON, such as
/// {"beta": 0.1}; NULL or "" = all defaults.
///
/// @since 0.1
/// @null params_json
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_loss_new(
    name: *const c_char,
    params_json: *const c_char,
    out: *mut *mut halo_loss,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let name = host.text(0, "name", name)?;
            let params = params(host, 1, params_json)?;
            let out = host.out(2, "out", out)?;
            let loss = Loss::new(name, &params).map_err(|error| {
                let argument = usize::from(!error.is_name());
                Failure::from(error).argument(argument)
            })?;
            out.give(loss);
            Ok(())
        })
    }
}

/// JSON: name, formula, shape of data, needed columns, effective parameters, reference point, where it saturates.
///
/// @since 0.1
/// @owns json
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_loss_describe(
    loss: *const halo_loss,
    json: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (loss, out) = (host.shared(0, loss)?, host.blob(1, "json", json)?);
            out.give(Blob::new(describe(&loss)?.to_string().as_bytes()));
            Ok(())
        })
    }
}

/// How many numbers metric_sums are.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_loss_metric_count(_loss: *const halo_loss) -> usize {
    Sums::WIDTH
}

/// Adds this batch's counts to counts[3]: scored rows (or pairs), completion tokens, those of desirable rows. Summed over all
/// micro-batches and ranks they are a batch's global_count, global_tokens and global_desirable_tokens.
///
/// @since 0.1
/// @inout counts
/// @len counts width
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_loss_count(
    loss: *const halo_loss,
    batch: *const halo_batch,
    counts: *mut f64,
    width: usize,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let loss = host.shared(0, loss)?;
            let columns = Columns::read(host, 1, batch)?;
            let before: Vec<f64> = host
                .slice(2, "counts", counts.cast_const(), width)?
                .to_vec();
            let [units, tokens, desirable] = before[..] else {
                let message = format!("width = {width} is not 3");
                return Err(Failure::new(HALO_E_SHAPE, "width", message).argument(3));
            };
            let out = host.outs(2, "counts", counts, width)?;
            let here = Normalizer::of(&loss, &columns.scored(&loss)?.rows);
            out.write([
                units + here.units,
                tokens + here.tokens,
                desirable + here.desirable_tokens,
            ]);
            Ok(())
        })
    }
}

/// Value and gradient of a batch in one pass, computed in f64 whatever the dtype. No rows are a loss of 0.
///
/// @since 0.1
/// @inout result
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_loss_evaluate(
    loss: *const halo_loss,
    batch: *const halo_batch,
    result: *mut halo_loss_result,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let loss = host.shared(0, loss)?;
            let columns = Columns::read(host, 1, batch)?;
            let mut result = host.inout(2, result)?;
            let places = Places::read(host, &columns, &result.value)?;
            if loss.per_token() && places.d_logp.wanted() {
                let message = format!(
                    "{}'s tokens have gradients of their own: set d_token_logp and leave d_logp NULL",
                    loss.name()
                );
                let failure = Failure::new(HALO_E_INVALID_ARGUMENT, "result.d_logp", message);
                return Err(failure.argument(2));
            }
            let cheap = |value: f64, slopes: &[f64]| {
                places.write_gradient(&columns, slopes);
                value
            };
            let value = match places.gradient_only() {
                true => blocks::evaluate(&loss, &columns, cheap)?,
                false => None,
            };
            if let Some(value) = value {
                result.value.loss = value;
                result.write();
                return Ok(());
            }
            let picked = columns.scored(&loss)?;
            let norm = columns.normalizer(|| Normalizer::of(&loss, &picked.rows))?;
            let evaluation = evaluate(&loss, picked.batch(), &norm)
                .map_err(|error| translated(error, &picked).argument(1))?;
            result.value.loss = evaluation.loss;
            places.write(&loss, &columns, &picked, &evaluation);
            result.write();
            Ok(())
        })
    }
}

/// JSON of summed metric_sums, such as {"rewards/chosen": 0.5}: divides by the right counts. Names are TRL's.
///
/// @since 0.1
/// @len metric_sums count
/// @owns json
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_loss_summarize(
    loss: *const halo_loss,
    metric_sums: *const f64,
    count: usize,
    json: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            host.shared(0, loss)?;
            let sums = host.slice(1, "metric_sums", metric_sums, count)?;
            let out = host.blob(3, "json", json)?;
            let Some(sums) = Sums::from_slice(sums) else {
                let message = format!("count = {count} is not {}", Sums::WIDTH);
                return Err(Failure::new(HALO_E_SHAPE, "count", message).argument(2));
            };
            out.give(Blob::new(summary(&sums).to_string().as_bytes()));
            Ok(())
        })
    }
}

/// Frees a loss; NULL is nothing to free.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_loss_free(loss: *mut halo_loss) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { guard_or((), |host| host.free(loss)) }
}

/// Parameters from a JSON object.
pub(crate) fn params(host: &Host, argument: usize, json: *const c_char) -> Outcome<Params> {
    let Some(text) = host.optional_text(argument, "params_json", json)? else {
        return Ok(Params::new());
    };
    serde_json::from_str(text).map_err(|error| {
        let message = format!(
            "params_json is not an object of numbers, flags and words, such as {{\"beta\": 0.1}}: {error}"
        );
        Failure::new(HALO_E_FORMAT, "params_json", message).argument(argument)
    })
}

fn describe(loss: &Loss) -> Outcome<Value> {
    let needs: Vec<_> = loss.all_needs().collect();
    let point = loss.reference_point();
    Ok(json!({
        "name": loss.name(),
        "shape": loss.data_shape(),
        "needs": needs,
        "per_token": loss.per_token(),
        "couples": loss.couples(),
        "params": loss.params(),
        "reference_point": point.map(|point| json!({"name": point.name(), "source": point.source(), "per_row": point.per_row()})),
        "saturation": ::halo_loss::saturation::bounds(loss, ::halo_loss::saturation::TOLERANCE)?,
        "spec": loss.spec(),
    }))
}

/// What rows alone decide of a step's metrics.
fn summary(sums: &Sums) -> Value {
    const OF_THE_STEP: [&str; 8] = [
        "step",
        "epoch",
        "kl_raw",
        "kl_clamped",
        "grad_norm",
        "learning_rate",
        "tokens",
        "completion_tokens",
    ];
    let mut metrics = json!(sums.finish());
    if let Some(metrics) = metrics.as_object_mut() {
        metrics.retain(|key, _| !OF_THE_STEP.contains(&key.as_str()));
    }
    metrics
}

/// An error about the loss's row n, said about the host's.
fn translated(error: ::halo_loss::Error, picked: &Picked) -> Failure {
    let row = error.row().and_then(|row| picked.source.get(row));
    let failure = Failure::from(error);
    match row {
        Some(row) => failure.example(*row),
        None => failure,
    }
}
