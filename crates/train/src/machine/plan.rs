//! What one optimiser step consists of: a pure function of the plan, the data and the step's number.

use std::collections::BTreeMap;

use halo_loss::{Label, Loss, Normalizer, Scope, Source};

use super::setup::Setup;
use crate::error::Error;
use crate::order::Steps;
use crate::pairing::{Mismatch, halos, rotate, trl};
use crate::rng::Rng;

/// One optimiser step as this rank sees it.
#[derive(Debug)]
pub(super) struct StepPlan {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) epoch: f64,
    pub(super) learning_rate: f64,
    /// With the parameters of this step.
    pub(super) loss: Loss,
    /// Over all micro-batches and ranks.
    pub(super) norm: Normalizer,
    /// How many prompts the step has.
    pub(super) groups: usize,
    /// Its rows as record indices, over all micro-batches and ranks.
    pub(super) rows: Vec<usize>,
    /// One a micro-batch, on every rank the same number; this rank's share may be empty in the last.
    pub(super) batches: Vec<Batch>,
}

/// This rank's share of a micro-batch, as record indices.
#[derive(Debug)]
pub(super) struct Batch {
    /// A loss's rows: singles, or chosen and rejected in turn.
    pub(super) rows: Vec<usize>,
    /// For each row whose completion its prompt meets; empty where z₀ needs none.
    pub(super) partners: Vec<usize>,
    /// For each row its prompt, numbered within the step.
    pub(super) groups: Vec<u32>,
    /// The first row's place among all of the step.
    pub(super) start: usize,
}

/// Plans step `index`, counted from 0.
///
/// # Errors
/// A row without any mismatched completion.
pub(super) fn step(setup: &Setup, steps: &mut Steps, index: u64) -> Result<StepPlan, Error> {
    let (plan, data) = (&setup.plan, &setup.data);
    let units = steps.units(index);
    // All units of a run have one shape, so rows can be cut where units can.
    let rows: Vec<usize> = units
        .iter()
        .flat_map(|&unit| data.units[unit].records())
        .collect();
    let share = plan.batch_size.saturating_mul(rows.len() / units.len());
    let micro_batch = share.saturating_mul(plan.ranks);

    let mismatched = setup.source == Source::Mismatched;
    let rng = Rng::new(plan.seed).fork(PAIRING_STREAM).fork(index);
    let partners: Vec<usize> = match (mismatched, plan.mismatch, plan.scope) {
        (false, ..) => Vec::new(),
        (true, Mismatch::Trl, _) => rows.chunks(share).flat_map(trl::pair).collect(),
        (true, Mismatch::Halos, _) => rows.chunks(share).flat_map(halos::pair).collect(),
        (true, Mismatch::Rotate, Scope::Step) => rotate::pair(data, &rows, rng)?,
        // y′ and the y they are compared with stay in one scope.
        (true, Mismatch::Rotate, Scope::Microbatch) => {
            let batches = rows.chunks(micro_batch).enumerate();
            let pairs =
                batches.map(|(batch, rows)| rotate::pair(data, rows, rng.fork(batch as u64)));
            pairs.collect::<Result<Vec<_>, Error>>()?.concat()
        }
    };

    let mut numbers = BTreeMap::new();
    let groups: Vec<u32> = rows
        .iter()
        .map(|&row| {
            let next = numbers.len() as u32;
            *numbers.entry(data.records[row].group).or_insert(next)
        })
        .collect();

    let batches = (0..rows.len().div_ceil(micro_batch)).map(|batch| {
        let start = batch * micro_batch;
        let end = rows.len().min(start.saturating_add(micro_batch));
        let from = end.min(start.saturating_add(share.saturating_mul(plan.rank)));
        let mine = from..end.min(from.saturating_add(share));
        Batch {
            partners: if mismatched {
                partners[mine.clone()].to_vec()
            } else {
                Vec::new()
            },
            groups: groups[mine.clone()].to_vec(),
            start: mine.start,
            rows: rows[mine].to_vec(),
        }
    });
    let batches: Vec<Batch> = batches.collect();
    let tokens = |desirable_only: bool| -> f64 {
        let records = rows.iter().map(|&row| &data.records[row]);
        let counted = records.filter(|record| !desirable_only || record.label == Label::Desirable);
        counted
            .map(|record| f64::from(record.scored_tokens()))
            .sum()
    };
    Ok(StepPlan {
        number: index + 1,
        epoch: steps.epochs_after(index),
        learning_rate: setup.learning_rate
            * plan.schedule.factor(index, plan.warmup_steps, setup.total),
        loss: setup.loss_at(index)?,
        norm: Normalizer {
            units: units.len() as f64,
            tokens: tokens(false),
            desirable_tokens: tokens(true),
        },
        groups: numbers.len(),
        rows,
        batches,
    })
}

/// Keeps this use of the seed apart from all others.
const PAIRING_STREAM: u64 = 2;
