//! The host's callbacks and its wish to stop.

#![cfg_attr(
    not(feature = "session"),
    allow(
        dead_code,
        reason = "without sessions no call is long enough to be watched"
    )
)]

use std::ffi::CStr;

use super::Host;
use crate::cancel::Cancel;
use crate::failure::{Failure, Outcome};
use crate::run::halo_run;
use crate::status::*;

/// Whom a long call asks whether it is to go on. It stays on the thread that called in: callbacks run there.
pub(crate) struct Watch {
    run: Option<halo_run>,
    cancel: Option<Cancel>,
}

impl Host {
    /// What a long call is watched with; NULL stands for nobody.
    ///
    /// # Errors
    /// A struct that is none; a flag that this version does not know; a cancel token that is none.
    pub(crate) fn watch(&self, argument: usize, run: *const halo_run) -> Outcome<Watch> {
        let run = self.optional(argument, run)?;
        if let Some(flags) = run.map(|run| run.flags).filter(|flags| *flags != 0) {
            let message = format!("halo_run.flags = {flags}: this version knows none");
            return Err(Failure::new(HALO_E_UNSUPPORTED, "run.flags", message).argument(argument));
        }
        let token = run.map(|run| run.cancel).filter(|token| !token.is_null());
        let cancel = match token {
            Some(token) => Some(Cancel::clone(
                &*self
                    .shared(argument, token.cast_const())
                    .map_err(|failure| failure.argument(argument))?,
            )),
            None => None,
        };
        Ok(Watch { run, cancel })
    }
}

impl Watch {
    /// The most steps of this call; `None` for no limit.
    pub(crate) fn max_steps(&self) -> Option<u64> {
        self.run.map(|run| run.max_steps).filter(|steps| *steps > 0)
    }

    /// Tells how far the call is.
    ///
    /// # Errors
    /// The host wants to stop.
    pub(crate) fn go_on(&self, phase: &'static CStr, done: u64, total: u64) -> Outcome {
        if self.cancel.as_ref().is_some_and(Cancel::requested) {
            return Err(cancelled("the cancel token was set"));
        }
        let Some((progress, run)) = self.run.and_then(|run| Some((run.progress?, run))) else {
            return Ok(());
        };
        // SAFETY: the host's function, which keeps the rules of the header; the text is static.
        match unsafe { progress(run.user, phase.as_ptr(), done, total) } {
            0 => Ok(()),
            code => Err(cancelled("progress did not return 0").host_code(code)),
        }
    }

    /// Hands on a piece of text.
    ///
    /// # Errors
    /// The host wants to stop.
    pub(crate) fn text(&self, piece: &str) -> Outcome {
        let Some((text, run)) = self.run.and_then(|run| Some((run.text?, run))) else {
            return Ok(());
        };
        // SAFETY: as above; the text lives during the call, which is all that the header promises.
        match unsafe { text(run.user, piece.as_ptr().cast(), piece.len()) } {
            0 => Ok(()),
            code => Err(cancelled("text did not return 0").host_code(code)),
        }
    }
}

fn cancelled(why: &str) -> Failure {
    Failure::new(HALO_E_CANCELLED, "run.cancel", format!("stopped: {why}"))
}
