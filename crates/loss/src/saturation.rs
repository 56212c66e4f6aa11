//! What has stopped learning: zones of data under a loss, and their analytic bounds.
//!
//! A row (or pair) is *active* while the loss's slope there is at least `tolerance` of the steepest;
//! beyond, it is *learnt* on the right side and *given up* on the wrong side. Not every loss gives up:
//! KTO ignores a desirable answer that the policy finds very unlikely exactly like a learnt one
//! (arXiv 2402.01306, proposition 4.1), DPO never does. Giving up is how KTO resists wrong labels.

use alloc::vec::Vec;

use crate::error::Error;
use crate::example::{Batch, Label, Row, Sequence};
use crate::loss::Loss;
use crate::losses::{Formula, Kernel};
use crate::readable::check;
use crate::units::units;
use crate::value::Value;

/// The tolerance of metrics: below one hundredth of the steepest slope counts as saturated.
pub const TOLERANCE: f64 = 0.01;

/// Where a row stands under a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Zone {
    /// Saturated on the right side.
    Learnt,
    /// Pulls.
    Active,
    /// Saturated on the wrong side.
    GivenUp,
}

/// What is measured along the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Axis {
    /// Nothing: the loss does not saturate.
    None,
    /// s(r − z₀), nats: how far a row is on the right side of the reference point.
    Gain,
    /// r_w − r_l, nats.
    Margin,
}

/// Where a loss saturates, on its axis.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Bounds {
    /// What is measured.
    pub axis: Axis,
    /// Learnt above this; `None`: never.
    pub learnt: Option<f64>,
    /// Given up below this; `None`: never.
    pub given_up: Option<f64>,
    /// The steepest |dL/dlogp| of a row, before normalisation, nats⁻¹; `None` where a loss has no one number.
    pub max_slope: Option<f64>,
    /// How the bounds come about, ε the tolerance; empty where there are none.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub formula: &'static str,
}

impl Bounds {
    /// A loss that never lets go.
    pub(crate) fn never() -> Bounds {
        Bounds {
            axis: Axis::None,
            learnt: None,
            given_up: None,
            max_slope: None,
            formula: "",
        }
    }

    /// A loss c − v(β·x) of the axis x.
    pub(crate) fn of(axis: Axis, value: Value, beta: f64, tolerance: f64) -> Bounds {
        let (learnt, given_up) = value.bounds(tolerance);
        Bounds {
            axis,
            learnt: learnt.map(|u| u / beta),
            given_up: given_up.map(|u| u / beta),
            max_slope: Some(beta * value.max_slope()),
            formula: value.bound_formula(),
        }
    }

    /// The zone of a place on the axis.
    pub fn zone(&self, progress: f64) -> Zone {
        match (self.learnt, self.given_up) {
            (Some(bound), _) if progress > bound => Zone::Learnt,
            (_, Some(bound)) if progress < bound => Zone::GivenUp,
            _ => Zone::Active,
        }
    }
}

/// Where the loss's slope falls below `tolerance` times its maximum; of a weighted sum, its first
/// term's that judges the rows.
///
/// # Errors
/// A tolerance outside 0 to 1, both excluded.
pub fn bounds(loss: &Loss, tolerance: f64) -> Result<Bounds, Error> {
    if !(tolerance > 0.0 && tolerance < 1.0) {
        let message = alloc::format!("tolerance = {tolerance} is not between 0 and 1");
        return Err(Error::parameter("tolerance", message));
    }
    Ok(loss.judge().built.kernel.bounds(tolerance))
}

/// How far each row is on the right side, on the axis of the bounds, and the zone that puts it in; the two rows of a pair share
/// theirs. Reference points are the rows'.
///
/// # Errors
/// As [`bounds`], and rows that the loss cannot read.
pub fn places<'a>(
    loss: &Loss,
    batch: impl Into<Batch<'a>>,
    tolerance: f64,
) -> Result<Vec<(f64, Zone)>, Error> {
    let (batch, bounds) = (batch.into(), bounds(loss, tolerance)?);
    check(loss, &batch)?;
    let built = &loss.judge().built;
    let rows = built.tokens.prepare(&batch, false).rows;
    let mut places = alloc::vec![(0.0, Zone::Active); rows.len()];
    let mut put = |indices: &[usize], progress: f64| {
        for &index in indices {
            places[index] = (progress, bounds.zone(progress));
        }
    };
    match &built.kernel {
        Kernel::Row(formula) => {
            units(built, &rows).for_each(|(at, unit)| put(&at, scaled(&**formula, &unit)));
        }
        Kernel::Pair(formula) => {
            units(built, &rows).for_each(|(at, unit)| put(&at, scaled(&**formula, &unit)));
        }
        Kernel::Token(_) => {}
    }
    Ok(places)
}

/// Progress at the loss's own β: an example with twice the β is as far along at half the log-ratio.
pub(crate) fn scaled<const N: usize>(formula: &dyn Formula<N>, unit: &[Sequence<N>; N]) -> f64 {
    formula.progress(unit) * unit[0].beta_scale
}

/// The zones of [`places`] alone.
///
/// # Errors
/// As [`places`].
pub fn zones<'a>(
    loss: &Loss,
    batch: impl Into<Batch<'a>>,
    tolerance: f64,
) -> Result<Vec<Zone>, Error> {
    let places = places(loss, batch, tolerance)?;
    Ok(places.into_iter().map(|(_, zone)| zone).collect())
}

/// How many rows stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counts {
    /// Saturated on the right side.
    pub learnt: u64,
    /// Pulling.
    pub active: u64,
    /// Saturated on the wrong side.
    pub given_up: u64,
}

impl Counts {
    /// Counts zones.
    pub fn of(zones: &[Zone]) -> Counts {
        let mut counts = Counts::default();
        for zone in zones {
            match zone {
                Zone::Learnt => counts.learnt += 1,
                Zone::Active => counts.active += 1,
                Zone::GivenUp => counts.given_up += 1,
            }
        }
        counts
    }

    /// All rows.
    pub fn total(&self) -> u64 {
        self.learnt + self.active + self.given_up
    }
}

/// Counts per label: desirable first. Rows and zones belong together by index.
pub fn counts(rows: &[Row], zones: &[Zone]) -> [Counts; 2] {
    [Label::Desirable, Label::Undesirable].map(|label| {
        let of_label = rows.iter().zip(zones).filter(|(row, _)| row.label == label);
        Counts::of(&of_label.map(|(_, zone)| *zone).collect::<Vec<_>>())
    })
}
