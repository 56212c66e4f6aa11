//! What the papers prove, as numbers: theorems of arXiv 2402.01306 (KTO) and 2305.18290 (DPO), tried on any loss of the registry.
//!
//! Losses are evaluated through [`crate::Loss`] alone: what stands here are the theorems' settings (a place on an axis, a shifted
//! reward, a policy over a few outputs) and their closed forms, never a loss's formula.
//!
//! - [`fade`]: how steep a loss is at a place, and how KTO's slope fades on both sides alike (proposition 4.1).
//! - [`reward_shift`]: rewards that differ by a function of the prompt (theorem 4.2).
//! - [`contradictory`], on policies of [`tabular`]: preferences that contradict each other (theorem 4.3), or go in circles.
//! - [`halo`]: whether a loss meets the paper's definition of a human-aware loss.
//! - [`clamp`]: what a clamp at 0 does to an estimated reference point.

use crate::error::Error;
use crate::evaluate::{Evaluation, Normalizer, evaluate};
use crate::example::{Label, Row};
use crate::loss::Loss;
use crate::spec::{DataShape, Need};

pub mod clamp;
pub mod contradictory;
pub mod fade;
pub mod halo;
pub mod reward_shift;
pub mod tabular;

/// A row whose log-ratio is `r`, of one token so that lengths say nothing. A loss without a reference reads `r` as ln π.
fn row(r: f64, label: Label) -> Row {
    Row {
        logp: r,
        tokens: 1,
        label,
        ..Row::default()
    }
}

/// A pair of log-ratios.
fn pair(chosen: f64, rejected: f64) -> [Row; 2] {
    [
        row(chosen, Label::Desirable),
        row(rejected, Label::Undesirable),
    ]
}

/// Values and slopes as they are before normalisation.
fn plain(loss: &Loss, rows: &[Row]) -> Result<Evaluation, Error> {
    let one = Normalizer {
        units: 1.0,
        tokens: 1.0,
        desirable_tokens: 1.0,
    };
    evaluate(loss, rows, &one)
}

/// # Errors
/// A loss whose tokens differ, or that reads groups: a log-ratio per row is not all it looks at.
fn of_rows(loss: &Loss) -> Result<(), Error> {
    if loss.per_token() || loss.data_shape() == DataShape::Grouped {
        let message = alloc::format!("{} is no loss of rows or pairs alone", loss.name());
        return Err(Error::parameter("loss", message));
    }
    Ok(())
}

/// # Errors
/// As [`of_rows`], and a loss that has no expectation over a policy's outputs: units that are ranked against each other have no
/// value of their own to weigh by a share, and numbers that are no log-probabilities do not come from a policy.
fn of_policies(loss: &Loss) -> Result<(), Error> {
    of_rows(loss)?;
    let why = if loss.couples() {
        "couples the units of a step: none has a value of its own"
    } else if loss.needs(Need::Scores) || loss.needs(Need::Errors) {
        "reads no log-probabilities of a policy"
    } else {
        return Ok(());
    };
    let message = alloc::format!("{} {why}", loss.name());
    Err(Error::parameter("loss", message))
}

fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}
