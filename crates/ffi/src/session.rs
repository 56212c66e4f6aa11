//! Sessions: the engine owns the model, and the host says what is to be done with it.
//!
//! Every body first asks whether this build has sessions at all, then takes the handle, then refuses a forked child.

#[cfg(feature = "session")]
mod begin;
#[cfg(feature = "session")]
pub(crate) mod error;
#[cfg(feature = "session")]
mod generate;
#[cfg(feature = "session")]
mod look;
mod rows;
#[cfg_attr(not(feature = "session"), path = "session/absent.rs")]
mod state;
pub mod tensor;

use std::ffi::c_char;

use crate::blob::{Blob, halo_blob};
use crate::dataset::halo_dataset;
use crate::failure::Outcome;
use crate::guard::{guard, guard_or};
use crate::handle::{Exclusive, Handle, Shared, opaque};
use crate::intake::Host;
use crate::run::halo_run;
use crate::status::*;
use rows::Rows;
use state::{Session, here};

/// A model that the engine owns, with what it is trained on and with.
pub struct halo_session(Handle<Session>);
opaque!(halo_session, Session);

/// halo_session_score: ask the reference model instead of the one that is trained.
pub const HALO_SCORE_REFERENCE: u32 = 1;
/// halo_session_score: one number a completion token instead of one a row.
pub const HALO_SCORE_TOKENS: u32 = 2;

/// halo_session_tokenize: the text goes on from another one, so no beginning-of-sequence token is put before it.
pub const HALO_TOKENIZE_CONTINUATION: u32 = 1;

/// Loads a model folder. config_json has the keys of `halo train`'s configuration: model (a Hugging Face folder, or a PEFT
/// adapter's) must be there; data may name files, else see halo_session_attach; output_dir may be left out, then nothing is
/// written but what is asked for. A session is one process: several ranks train with a halo_trainer each. Needs a build with
/// "session"; without it every function of sessions answers HALO_E_UNSUPPORTED.
///
/// @since 0.1
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_new(
    config_json: *const c_char,
    out: *mut *mut halo_session,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            here()?;
            let config = host.text(0, "config_json", config_json)?;
            let out = host.out(1, "out", out)?;
            out.give(Session::new(config).map_err(|failure| failure.argument(0))?);
            Ok(())
        })
    }
}

/// Gives the session data: role is "train" or "eval". They are tokenised now; the data set is frozen from here on, and may be
/// freed. On failure err->example is the record at fault. Training data are given once, before training.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_attach(
    session: *mut halo_session,
    role: *const c_char,
    data: *const halo_dataset,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut session = alone(host, session)?;
            let role = host.text(1, "role", role)?;
            let data = host.shared(2, data)?;
            session.attach(role, &data.records())?;
            data.freeze();
            Ok(())
        })
    }
}

/// Trains to the configured end, or run->max_steps further. Progress is told with phase "train" (before it "reference", if
/// precompute_ref_log_probs is set), in optimizer steps of the whole run, between micro-batches. Stopped in the midst of a step it
/// goes on there when it is called again, with the same numbers.
///
/// @since 0.1
/// @null run
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_train(
    session: *mut halo_session,
    run: *const halo_run,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut session = alone(host, session)?;
            session.train(&host.watch(1, run)?)
        })
    }
}

/// Measures the loss on the "eval" data: all of them at once, so that the result does not depend on the size of a batch. The
/// numbers join halo_session_metrics. Progress is told with phase "evaluate", in micro-batches.
///
/// @since 0.1
/// @null run
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_evaluate(
    session: *mut halo_session,
    run: *const halo_run,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut session = alone(host, session)?;
            session.evaluate(&host.watch(1, run)?)
        })
    }
}

/// Changes a setting from the next step on: key "lr" (or "learning_rate") with a number, the peak that the schedule scales.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_set(
    session: *mut halo_session,
    key: *const c_char,
    value_json: *const c_char,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut session = alone(host, session)?;
            let key = host.text(1, "key", key)?;
            session.set(key, host.text(2, "value_json", value_json)?)
        })
    }
}

/// JSON, one flat object: the numbers of the last step under the names that metrics.jsonl has ("step", "loss", "kl",
/// "rewards/chosen" and so on), and those of the last evaluation with "eval_" before them. Empty before the first.
///
/// @since 0.1
/// @owns json
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_metrics(
    session: *const halo_session,
    json: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (session, out) = (among(host, session)?, host.blob(1, "json", json)?);
            out.give(Blob::new(session.metrics()?.as_bytes()));
            Ok(())
        })
    }
}

/// JSON: the model, the loss with all its parameters, the effective configuration, steps, what was read of the data, and the
/// trained tensors with their shapes.
///
/// @since 0.1
/// @owns json
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_describe(
    session: *const halo_session,
    json: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (session, out) = (among(host, session)?, host.blob(1, "json", json)?);
            out.give(Blob::new(session.describe()?.as_bytes()));
            Ok(())
        })
    }
}

/// The tokens of a text, as int32_t, four bytes each in the blob. flags: HALO_TOKENIZE_CONTINUATION.
///
/// @since 0.1
/// @len text len
/// @owns int32s
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_tokenize(
    session: *const halo_session,
    text: *const c_char,
    len: usize,
    flags: u32,
    int32s: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let session = among(host, session)?;
            let text = host.sized_text(1, "text", text, len)?;
            let out = host.blob(4, "int32s", int32s)?;
            rows::known(3, flags, HALO_TOKENIZE_CONTINUATION)?;
            let tokens = session.tokenize(text, flags & HALO_TOKENIZE_CONTINUATION != 0)?;
            let bytes: Vec<u8> = tokens
                .iter()
                .flat_map(|token| token.to_ne_bytes())
                .collect();
            out.give(Blob::new(&bytes));
            Ok(())
        })
    }
}

/// ln p(completion | prompt) of each row, in nats, with the model as it stands; of a reward model its score. Row i is
/// tokens[offsets[i]] .. tokens[offsets[i + 1]], of which the first prompt_tokens[i] are prompt. flags: HALO_SCORE_REFERENCE,
/// HALO_SCORE_TOKENS. count is rows, or with HALO_SCORE_TOKENS the number of all completion tokens; the first token of a
/// completion without a prompt is context, and gets 0.
///
/// @since 0.1
/// @len prompt_tokens rows
/// @len logp count
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_score(
    session: *mut halo_session,
    rows: usize,
    offsets: *const i64,
    prompt_tokens: *const i32,
    tokens: *const i32,
    flags: u32,
    logp: *mut f64,
    count: usize,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut session = alone(host, session)?;
            rows::known(5, flags, HALO_SCORE_REFERENCE | HALO_SCORE_TOKENS)?;
            let rows = Rows::read(host, rows, offsets, prompt_tokens, tokens)?;
            let by_token = flags & HALO_SCORE_TOKENS != 0;
            rows.fits(count, by_token)?;
            let out = host.outs(6, "logp", logp, count)?;
            out.write(session.score(&rows, flags & HALO_SCORE_REFERENCE != 0, by_token)?);
            Ok(())
        })
    }
}

/// Writes on from a prompt. options_json: max_new_tokens (128), temperature (1; 0 = the most likely token), top_k (0 = all), top_p
/// (1), seed (0). run->text gets the text as it comes; progress is told with phase "generate", in tokens. The blob holds the whole
/// completion.
///
/// @since 0.1
/// @len prompt len
/// @null options_json
/// @null run
/// @owns text
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_generate(
    session: *mut halo_session,
    prompt: *const c_char,
    len: usize,
    options_json: *const c_char,
    run: *const halo_run,
    text: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut session = alone(host, session)?;
            let prompt = host.sized_text(1, "prompt", prompt, len)?;
            let options = host.optional_text(3, "options_json", options_json)?;
            let watch = host.watch(4, run)?;
            let out = host.blob(5, "text", text)?;
            let completion = session.generate(prompt, options.unwrap_or("{}"), &watch)?;
            out.give(Blob::new(completion.as_bytes()));
            Ok(())
        })
    }
}

/// Writes a checkpoint: a folder with everything that is needed to go on, bit for bit. It is written beside and renamed; it may
/// replace a checkpoint, and nothing else. In the midst of a step it is the state before that step. Needs training data.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_save(
    session: *mut halo_session,
    folder: *const c_char,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut session = alone(host, session)?;
            session.save(host.text(1, "folder", folder)?)
        })
    }
}

/// Goes to where a checkpoint stands, of this session or of another with the same configuration and data, also one of `halo
/// train`. On failure nothing has changed. Needs training data.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_load(
    session: *mut halo_session,
    folder: *const c_char,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut session = alone(host, session)?;
            session.load(host.text(1, "folder", folder)?)
        })
    }
}

/// Writes the model for others, into a folder that must not exist. format: "hf", the whole model with adapters merged, as
/// transformers loads it; or "peft", the adapter alone.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_export(
    session: *mut halo_session,
    folder: *const c_char,
    format: *const c_char,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let session = alone(host, session)?;
            let folder = host.text(1, "folder", folder)?;
            session.export(folder, host.text(2, "format", format)?)
        })
    }
}

/// Frees a session; NULL is nothing to free.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_session_free(session: *mut halo_session) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { guard_or((), |host| host.free(session)) }
}

/// A session for one caller.
fn alone(host: &Host, session: *mut halo_session) -> Outcome<Exclusive<'_, Session>> {
    here()?;
    let session = host.exclusive(0, session)?;
    session.of_this_process()?;
    Ok(session)
}

/// A session for one of several callers.
fn among(host: &Host, session: *const halo_session) -> Outcome<Shared<'_, Session>> {
    here()?;
    let session = host.shared(0, session)?;
    session.of_this_process()?;
    Ok(session)
}
