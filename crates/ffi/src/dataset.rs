//! Records: given as tokens, as text or as lines of JSON; kept as they are until something that reads them is attached to.

#[cfg_attr(not(feature = "session"), path = "dataset/small.rs")]
mod full;
mod record;
mod records;
mod units;

use std::ffi::c_char;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::blob::{Blob, halo_blob};
use crate::failure::{Failure, Outcome};
use crate::guard::{guard, guard_or};
use crate::handle::{Handle, opaque};
use crate::intake::Sized32;
use crate::pool;
use crate::status::*;
pub(crate) use records::Records;

/// Records in their order. What it is attached to shares it, and from then on it does not change.
pub struct halo_dataset(Handle<Dataset>);
opaque!(halo_dataset, Dataset);

/// What stands behind the handle.
pub(crate) struct Dataset {
    /// Shared by count with what it is attached to.
    records: Arc<Records>,
    frozen: AtomicBool,
}

/// Text by its length. It stands inside structs only, and never changes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_str {
    /// UTF-8; may hold any character. @len len
    pub data: *const c_char,
    /// In bytes.
    pub len: usize,
}

/// halo_record.score is set.
pub const HALO_RECORD_SCORE: u32 = 1;

/// One completion of one prompt. A pair is two records of one group and one prompt, labelled +1 and -1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct halo_record {
    /// sizeof(halo_record) as the host compiled it.
    pub struct_size: u32,
    /// HALO_RECORD_*.
    pub flags: u32,
    /// Its name in messages; empty = its number.
    pub id: halo_str,
    /// Text for a halo_session, which has a tokenizer.
    pub prompt: halo_str,
    /// Text behind the prompt.
    pub completion: halo_str,
    /// Instead of text: the prompt, then the completion with its end-of-sequence token. @len token_count
    pub tokens: *const i32,
    /// How many tokens there are.
    pub token_count: usize,
    /// How many of them are prompt. Without a prompt the completion's first token is context and not scored.
    pub prompt_tokens: usize,
    /// Log-probabilities of the scored tokens when the completion was sampled, nats; NULL = not known. @len old_logp_count
    pub old_logps: *const f64,
    /// How many old_logps there are.
    pub old_logp_count: usize,
    /// Equal and nonzero = two records that are a pair.
    pub group: u64,
    /// +1 desirable or chosen, -1 undesirable or rejected, 0 not judged.
    pub label: i32,
    /// 0.
    pub reserved: u32,
    /// A reward or rating, with HALO_RECORD_SCORE.
    pub score: f64,
    /// Multiplies the example's loss, of a pair the chosen record's; 0 = 1.
    pub weight: f64,
    /// The example's beta in units of the loss's, of a pair the chosen record's; 0 = 1.
    pub beta_scale: f64,
}
// SAFETY: numbers and pointers without padding, the size first.
unsafe impl Sized32 for halo_record {
    const NAME: &'static str = "halo_record";
}

impl Dataset {
    /// The records, for something that is being attached to; once that has gone well, [`Dataset::freeze`].
    pub(crate) fn records(&self) -> Arc<Records> {
        self.records.clone()
    }

    /// From now on nothing is added.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// It is frozen.
    fn open(&mut self) -> Outcome<&mut Records> {
        let frozen = *self.frozen.get_mut();
        match Arc::get_mut(&mut self.records).filter(|_| !frozen) {
            Some(records) => Ok(records),
            None => {
                let message = "the data set is attached: nothing can be added any more";
                Err(Failure::new(HALO_E_STATE, "dataset", message).argument(0))
            }
        }
    }
}

/// A data set without records.
///
/// @since 0.1
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_dataset_new(
    out: *mut *mut halo_dataset,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            host.out(0, "out", out)?.give(Dataset {
                records: Arc::default(),
                frozen: AtomicBool::new(false),
            });
            Ok(())
        })
    }
}

/// Adds one record; the data set copies it.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_dataset_add(
    data: *mut halo_dataset,
    record: *const halo_record,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut data = host.exclusive(0, data)?;
            let records = data.open()?;
            let record = host.options(1, record)?;
            let number = records.count();
            let row = record::read(host, &record)
                .map_err(|failure| failure.argument(1).example(number))?;
            records.push(row);
            Ok(())
        })
    }
}

/// Adds the lines of a JSONL file, plain or gzip, in any of the shapes that `halo train` reads. options_json: limit, the most
/// lines to add. On failure nothing is added, and err->example is the line at fault, from 0. Needs a build with "session".
///
/// @since 0.1
/// @null options_json
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_dataset_load(
    data: *mut halo_dataset,
    path: *const c_char,
    options_json: *const c_char,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut data = host.exclusive(0, data)?;
            let records = data.open()?;
            let path = host.text(1, "path", path)?;
            let options = crate::settings::read(host, 2, "options_json", options_json)?;
            full::load(records, path, &options).map_err(|failure| failure.argument(1))
        })
    }
}

/// Adds one line of JSON, in any shape that a JSONL file may have. Needs a build with "session".
///
/// @since 0.1
/// @len line len
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_dataset_add_json(
    data: *mut halo_dataset,
    line: *const c_char,
    len: usize,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut data = host.exclusive(0, data)?;
            let records = data.open()?;
            let line = host.sized_text(1, "line", line, len)?;
            let number = records.count();
            full::add_json(records, line).map_err(|failure| failure.argument(1).example(number))
        })
    }
}

/// How many records (of a file: lines) were added; 0 for NULL.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_dataset_count(data: *const halo_dataset) -> u64 {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard_or(0, |host| {
            host.shared(0, data)
                .map_or(0, |data| data.records.count() as u64)
        })
    }
}

/// JSON: what the data is, its contradictions, and which losses fit it: what `halo advise` says. config_json: weak (false: labels
/// made of an indirect signal), noise (share of labels known to be wrong), fine_comparisons (pairs compare answers that are both
/// good), score_threshold (from which score on a completion without a label is desirable). Words are counted where there is text.
/// Needs a build with "session".
///
/// @since 0.1
/// @null config_json
/// @owns json
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_dataset_diagnose(
    data: *const halo_dataset,
    config_json: *const c_char,
    json: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let data = host.shared(0, data)?;
            let known = crate::settings::read(host, 1, "config_json", config_json)?;
            let out = host.blob(2, "json", json)?;
            let records = &data.records;
            let report = pool::run(|| full::diagnose(records, &known))?;
            out.give(Blob::new(report.as_bytes()));
            Ok(())
        })
    }
}

/// Frees a data set; NULL is nothing to free. What it is attached to goes on.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_dataset_free(data: *mut halo_dataset) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { guard_or((), |host| host.free(data)) }
}
