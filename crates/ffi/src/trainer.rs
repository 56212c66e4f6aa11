//! The training loop for a host that owns the model: it is told what to do, and says what came of it.

mod answer;
mod config;
mod hand;
mod run;
mod sequences;
mod state;
pub mod work;

use std::ffi::{c_char, c_void};

use crate::blob::{Blob, halo_blob};
use crate::dataset::halo_dataset;
use crate::failure::Failure;
use crate::guard::{guard, guard_or};
use crate::handle::{Handle, opaque};
use crate::pool;
use crate::status::*;
use config::Config;
use run::Trainer;
use work::{halo_answer, halo_work};

/// A training run whose model, optimizer and collectives are the host's.
///
/// No I/O, no threads, no callbacks. halo_trainer_next says what to do; the host does it and submits the answer; next repeats itself
/// until then. Every rank makes the same calls in the same order, whatever fails.
pub struct halo_trainer(Handle<Trainer>);
opaque!(halo_trainer, Trainer);

/// A run at its beginning. The keys of config_json are those of `halo train`'s files: loss, loss_parameters, loss_schedule,
/// class_balance, reference_sync, reference_point_scope, mismatch, score_threshold, order, per_device_train_batch_size,
/// gradient_accumulation_steps, max_steps, num_train_epochs, learning_rate, lr_scheduler_type, warmup_steps, seed, save_steps; and
/// gradient_reduce, "sum", or "mean" for a host that averages the gradients of the ranks. NULL or "" = all defaults.
///
/// The batch size is one rank's. rank and world_size are those of data parallelism: a group of processes that computes one forward
/// pass together is one rank, and fails together.
///
/// @since 0.1
/// @null config_json
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_new(
    config_json: *const c_char,
    rank: i32,
    world_size: i32,
    out: *mut *mut halo_trainer,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let config: Config = crate::settings::read(host, 0, "config_json", config_json)?;
            let (rank, ranks) = match (usize::try_from(rank), usize::try_from(world_size)) {
                (Ok(rank), Ok(ranks)) if rank < ranks => (rank, ranks),
                _ => {
                    let message = format!("rank = {rank} is outside 0..{world_size} (world_size)");
                    let failure = Failure::new(HALO_E_INVALID_ARGUMENT, "trainer.rank", message);
                    return Err(failure.argument(1));
                }
            };
            let out = host.out(3, "out", out)?;
            let trainer =
                Trainer::new(config, rank, ranks).map_err(|failure| failure.argument(0))?;
            out.give(trainer);
            Ok(())
        })
    }
}

/// Gives the run its data, which do not change from here on. role: "train". Every rank attaches all of the data: the trainer gives
/// each its share.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_attach(
    trainer: *mut halo_trainer,
    role: *const c_char,
    data: *const halo_dataset,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut trainer = host.exclusive(0, trainer)?;
            let role = host.text(1, "role", role)?;
            let data = host.shared(2, data)?;
            if role != "train" {
                let message = format!("role {role:?} is none of a trainer's; known: train");
                let failure = Failure::new(HALO_E_NOT_FOUND, "trainer.role", message);
                return Err(failure.argument(1));
            }
            let records = data.records();
            pool::run(|| trainer.attach(&records)).map_err(|failure| failure.argument(2))?;
            data.freeze();
            Ok(())
        })
    }
}

/// What to do next; the same again until it is answered. The pointers in work hold until halo_trainer_submit, halo_trainer_load or
/// halo_trainer_free.
///
/// HALO_E_CALLBACK: the run is over, because the ranks could not be added up.
///
/// @since 0.1
/// @inout work
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_next(
    trainer: *mut halo_trainer,
    work: *mut halo_work,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut trainer = host.exclusive(0, trainer)?;
            let mut out = host.result(1, work)?;
            out.value = trainer.next()?;
            out.write();
            Ok(())
        })
    }
}

/// The answer to the work that halo_trainer_next gave.
///
/// HALO_E_PEER, on every rank: somebody failed (perhaps this rank), nothing was stepped. Drop the gradients and go on: next offers
/// the step again, with the same data. HALO_E_CALLBACK, for a nonzero host_code that the other ranks are not told: of a
/// HALO_WORK_REDUCE, or a HALO_WORK_OPTIMIZER_STEP of several ranks, it ends the run; other work is offered again. After any other
/// error the right answer is still awaited; an answer with a host_code is always right.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_submit(
    trainer: *mut halo_trainer,
    answer: *const halo_answer,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut trainer = host.exclusive(0, trainer)?;
            let answer = host.options(1, answer)?;
            let answer = answer::read(host, &answer, trainer.awaited())
                .map_err(|failure| failure.argument(1))?;
            trainer.submit(answer)
        })
    }
}

/// Changes a setting from the next step on. Every rank must set the same. key: "learning_rate", the peak of its schedule.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_set(
    trainer: *mut halo_trainer,
    key: *const c_char,
    value_json: *const c_char,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut trainer = host.exclusive(0, trainer)?;
            let key = host.text(1, "key", key)?;
            let value = host.text(2, "value_json", value_json)?;
            if key != "learning_rate" {
                let message = format!("{key:?} does not change during a run; known: learning_rate");
                let failure = Failure::new(HALO_E_NOT_FOUND, "trainer.key", message);
                return Err(failure.argument(1));
            }
            let rate = crate::settings::parse("value_json", value)
                .map_err(|failure| failure.argument(2))?;
            trainer.set_learning_rate(rate)
        })
    }
}

/// JSON: the metrics of the step completed last, by TRL's names, the same on every rank; and max_steps, the steps of the whole run
/// (null before data are attached). Before the first step only step, 0, and max_steps.
///
/// @since 0.1
/// @owns json
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_metrics(
    trainer: *const halo_trainer,
    json: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (trainer, out) = (host.shared(0, trainer)?, host.blob(1, "json", json)?);
            out.give(Blob::new(trainer.metrics().to_string().as_bytes()));
            Ok(())
        })
    }
}

/// Where the run stands, for halo_trainer_load in a later process, on any rank. During a step it is the state before that step.
///
/// @since 0.1
/// @owns out
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_save(
    trainer: *const halo_trainer,
    out: *mut *mut halo_blob,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let (trainer, out) = (host.shared(0, trainer)?, host.blob(1, "out", out)?);
            out.give(Blob::new(&trainer.save()?));
            Ok(())
        })
    }
}

/// Goes on where halo_trainer_save left off; the data must be attached, and they and the settings must be those of the saved run.
/// On failure nothing has changed.
///
/// @since 0.1
/// @len data len
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_load(
    trainer: *mut halo_trainer,
    data: *const c_void,
    len: usize,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            let mut trainer = host.exclusive(0, trainer)?;
            let saved = host.slice(1, "data", data.cast::<u8>(), len)?;
            trainer.load(saved).map_err(|failure| failure.argument(1))
        })
    }
}

/// Frees a trainer; NULL is nothing to free.
///
/// @since 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_trainer_free(trainer: *mut halo_trainer) {
    // SAFETY: the caller keeps the header's rules.
    unsafe { guard_or((), |host| host.free(trainer)) }
}
