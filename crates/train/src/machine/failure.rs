//! A rank that fails: how the others learn of it, and what is offered again.
//!
//! Forward and backward are each rank's own, so a rank that fails there goes straight to the next sum over the ranks, in which
//! every rank is anyway. Two slots of each sum say who failed; then all ranks drop the step and offer it again, with the same data.
//! A sum that fails itself cannot say so: the run is over.

use crate::error::Error;

/// Why this rank does nothing more in this step.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    /// What the host said; 0 where it was not the host.
    code: i32,
    why: String,
}

/// Behind the numbers of every sum: how many ranks failed, and the sum of their numbers, counted from 1.
pub(super) const SLOTS: usize = 2;

impl Failed {
    /// The host's own failure.
    pub(super) fn host(work: &str, code: i32) -> Failed {
        let why = format!("{work} failed with the host's code {code}");
        Failed { code, why }
    }

    /// What only this rank's numbers show.
    pub(super) fn here(error: &Error) -> Failed {
        let (code, why) = (0, error.to_string());
        Failed { code, why }
    }

    /// The error of this rank, when all know.
    fn error(&self, rank: usize, others: &str) -> Error {
        let message = format!(
            "rank {rank} (this one) failed{others}: {}; nothing was stepped, and the step is offered again",
            self.why
        );
        Error::peer(message, Some(rank), self.code)
    }

    /// Of the only rank there is.
    pub(super) fn alone(&self) -> Error {
        self.error(0, "")
    }
}

/// The numbers with the slots behind them.
pub(super) fn with_slots(mut sums: Vec<f64>, rank: usize, failed: bool) -> Vec<f64> {
    let slots = match failed {
        true => [1.0, rank as f64 + 1.0],
        false => [0.0; SLOTS],
    };
    sums.extend(slots);
    sums
}

/// The numbers without their slots.
///
/// # Errors
/// A rank that failed: [`Error::is_peer`], with its number if it is one.
pub(super) fn without_slots<'a>(
    sums: &'a [f64],
    rank: usize,
    failed: Option<&Failed>,
) -> Result<&'a [f64], Error> {
    let (sums, slots) = sums.split_at(sums.len().saturating_sub(SLOTS));
    let &[count, numbers] = slots else {
        return Ok(sums);
    };
    if count == 0.0 {
        return Ok(sums);
    }
    Err(match (failed, count == 1.0) {
        (Some(failed), true) => failed.error(rank, ""),
        (Some(failed), false) => failed.error(rank, &format!(", and {} others", count - 1.0)),
        (None, true) => {
            let failed = (numbers - 1.0).max(0.0) as usize;
            let message =
                format!("rank {failed} failed; nothing was stepped, and the step is offered again");
            Error::peer(message, Some(failed), 0)
        }
        (None, false) => {
            let message =
                format!("{count} ranks failed; nothing was stepped, and the step is offered again");
            Error::peer(message, None, 0)
        }
    })
}
