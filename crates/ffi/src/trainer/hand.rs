//! A work that the host has in hand, and what its pointers point to.

use std::ptr::null;
use std::sync::Arc;

use halo_train::{Ask, Gradient, Which, Work};

use super::sequences::Sequences;
use super::work::*;

/// A work that the host was given, with what its pointers point to.
pub(super) struct Hand {
    pub(super) id: u64,
    pub(super) step: u64,
    pub(super) forward_id: u64,
    pub(super) micro_batch: u32,
    pub(super) work: Work,
    /// Of forward and backward.
    pub(super) rows: Option<Arc<Sequences>>,
    /// Of a reduction and of backward.
    pub(super) values: Vec<f64>,
}

impl Hand {
    /// How many values the host is to answer with.
    pub(super) fn awaited(&self) -> usize {
        match (&self.work, &self.rows) {
            (Work::Forward { ask, .. }, Some(rows)) => match ask {
                Ask::Tokens { .. } => rows.scored.iter().sum(),
                Ask::Sums | Ask::Scores => rows.rows(),
            },
            (Work::Reduce { sums }, _) => sums.len(),
            _ => 0,
        }
    }

    /// In C's words.
    pub(super) fn work(&self) -> halo_work {
        let (kind, flags) = match &self.work {
            Work::Forward { model, ask, .. } => {
                let flag = |model: &Which| match model {
                    Which::Policy => 0,
                    Which::Reference => HALO_WORK_REFERENCE,
                };
                (HALO_WORK_FORWARD, flag(model) | asked(*ask))
            }
            Work::Reduce { .. } => (HALO_WORK_REDUCE, 0),
            Work::Backward { dlogps, .. } => match dlogps {
                Gradient::Sequences(_) => (HALO_WORK_BACKWARD, 0),
                Gradient::Tokens(_) => (HALO_WORK_BACKWARD, HALO_WORK_TOKENS),
            },
            Work::ReduceGradients | Work::OptimizerStep { .. } => (HALO_WORK_OPTIMIZER_STEP, 0),
            Work::SyncReference { .. } => (HALO_WORK_SYNC_REFERENCE, 0),
            Work::Checkpoint { .. } => (HALO_WORK_CHECKPOINT, 0),
            Work::Done => (HALO_WORK_DONE, 0),
        };
        let taped = match &self.work {
            Work::Forward { tape, .. } => *tape,
            _ => true,
        };
        let rows = self.rows.as_deref();
        halo_work {
            struct_size: 0,
            kind,
            id: self.id,
            step: self.step,
            forward_id: self.forward_id,
            micro_batch: self.micro_batch,
            flags,
            rows: rows.map_or(0, Sequences::rows),
            grad_rows: rows.filter(|_| taped).map_or(0, |rows| rows.grad_rows),
            offsets: rows.map_or(null(), |rows| rows.offsets.as_ptr()),
            prompt_tokens: rows.map_or(null(), |rows| rows.prompt_tokens.as_ptr()),
            group: rows.map_or(null(), |rows| rows.group.as_ptr()),
            tokens: rows.map_or(null(), |rows| rows.tokens.as_ptr()),
            values: match self.values.is_empty() {
                true => null(),
                false => self.values.as_ptr(),
            },
            value_count: match &self.work {
                Work::Forward { .. } => self.awaited(),
                _ => self.values.len(),
            },
            learning_rate: match self.work {
                Work::OptimizerStep { learning_rate, .. } => learning_rate,
                _ => 0.0,
            },
            mix: match self.work {
                Work::SyncReference { mix } => mix,
                _ => 0.0,
            },
        }
    }
}

fn asked(ask: Ask) -> u32 {
    match ask {
        Ask::Sums => 0,
        Ask::Tokens { collisions: false } => HALO_WORK_TOKENS,
        Ask::Tokens { collisions: true } => HALO_WORK_TOKENS | HALO_WORK_COLLISIONS,
        Ask::Scores => HALO_WORK_SCORES,
    }
}

/// The part of the gradient that belongs to rows with gradient: they stand first.
pub(super) fn seeds(dlogps: &Gradient, rows: &Sequences) -> Vec<f64> {
    let (slopes, count) = match dlogps {
        Gradient::Sequences(slopes) => (slopes, rows.grad_rows),
        Gradient::Tokens(slopes) => (slopes, rows.scored[..rows.grad_rows].iter().sum()),
    };
    slopes[..count.min(slopes.len())].to_vec()
}
