//! What never changes during a run, and whether its parts fit together.

use std::sync::Arc;

use halo_loss::{DataShape, Loss, Need, Source};

use crate::error::Error;
use crate::pairing::{Mismatch, rotate};
use crate::plan::RunPlan;
use crate::records::{Dataset, Unit};

#[derive(Debug)]
pub(super) struct Setup {
    pub(super) plan: RunPlan,
    pub(super) data: Arc<Dataset>,
    pub(super) loss: Loss,
    /// Optimiser steps of the whole run.
    pub(super) total: u64,
    /// The rows that z₀ is estimated on.
    pub(super) source: Source,
    /// [`Dataset::fingerprint`] in hexadecimal.
    pub(super) fingerprint: String,
}

impl Setup {
    /// # Errors
    /// Those of [`Machine::new`](super::Machine::new).
    pub(super) fn new(plan: RunPlan, data: Arc<Dataset>, loss: Loss) -> Result<Setup, Error> {
        plan.validate()?;
        check_shape(&data, &loss)?;
        check_needs(&loss)?;
        let source = loss
            .reference_point()
            .map_or(Source::None, |estimator| estimator.source());
        if source == Source::Mismatched && plan.mismatch == Mismatch::Rotate {
            rotate::check(&data)?;
        }
        let total = plan.total_steps(data.units.len());
        let fingerprint = format!("{:016x}", data.fingerprint());
        Ok(Setup {
            plan,
            data,
            loss,
            total,
            source,
            fingerprint,
        })
    }
}

/// Paired losses take pairs; all others single records.
fn check_shape(data: &Dataset, loss: &Loss) -> Result<(), Error> {
    let name = loss.spec().name;
    let pairs = data
        .units
        .iter()
        .filter(|unit| matches!(unit, Unit::Pair { .. }))
        .count();
    let (wanted, found) = match loss.data_shape() {
        DataShape::Paired => ("pairs of chosen and rejected", data.units.len() - pairs),
        DataShape::Unpaired | DataShape::Any => ("single labelled examples", pairs),
        DataShape::Grouped => {
            return Err(Error::parameter(format!(
                "{name}: losses over groups are not driven by this machine"
            )));
        }
    };
    if found > 0 {
        let message = format!(
            "{name} takes {wanted}; {found} of {} units are of the other kind",
            data.units.len()
        );
        return Err(Error::data(message));
    }
    Ok(())
}

/// What a forward pass here yields is one log-probability a sequence.
fn check_needs(loss: &Loss) -> Result<(), Error> {
    let beyond = [
        Need::TokenLogps,
        Need::Advantages,
        Need::OldLogps,
        Need::VocabStats,
        Need::Scores,
    ];
    match beyond.into_iter().find(|&need| loss.needs(need)) {
        None => Ok(()),
        Some(need) => {
            let message = format!(
                "{} needs {need:?}, which this machine does not give",
                loss.spec().name
            );
            Err(Error::parameter(message))
        }
    }
}
