//! The modifiers that act on tokens, before a row's log-probability is their sum.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::wpo::Wpo;
use crate::example::{Batch, Row};

/// What is done with tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TokenRules {
    pub(super) humanline: Option<(f64, f64)>,
    pub(super) ld_alpha: f64,
    pub(super) wpo: Wpo,
}

impl Default for TokenRules {
    fn default() -> TokenRules {
        TokenRules {
            humanline: None,
            ld_alpha: 1.0,
            wpo: Wpo::Off,
        }
    }
}

/// Rows and tokens as the formula is to see them.
pub(crate) struct Prepared<'a> {
    pub(crate) rows: Cow<'a, [Row]>,
    /// ln π per token; empty where the rules leave the tokens alone.
    pub(crate) logps: Vec<f64>,
    /// d(that)/d(ln π) per token; empty as above.
    pub(crate) slopes: Vec<f64>,
    /// Tokens whose log-ratio is strictly within humanline's range.
    pub(crate) inside: Option<usize>,
}

impl TokenRules {
    /// Whether gradients differ between the tokens of a row.
    pub(crate) fn per_token(&self) -> bool {
        self.humanline.is_some() || self.ld_alpha < 1.0
    }

    /// Applies them to a batch. `old`: ratios are to the sampling policy, not to the reference.
    ///
    /// The columns that the rules read must be there: `evaluate` checks.
    pub(crate) fn prepare<'a>(&self, batch: &Batch<'a>, old: bool) -> Prepared<'a> {
        let mut prepared = Prepared {
            rows: Cow::Borrowed(batch.rows),
            logps: Vec::new(),
            slopes: Vec::new(),
            inside: None,
        };
        if self.wpo != Wpo::Off {
            self.weigh(batch, &mut prepared);
        }
        if self.per_token() {
            prepared.logps = batch.tokens.logps.to_vec();
            prepared.slopes = vec![1.0; prepared.logps.len()];
            let base = match old {
                true => batch.tokens.old_logps,
                false => batch.tokens.ref_logps,
            };
            self.clamp(base, &mut prepared);
            self.shorten(batch, &mut prepared);
        }
        prepared
    }

    /// Humanline: ln π := base + clamp(ln π − base).
    fn clamp(&self, base: &[f64], prepared: &mut Prepared) {
        let Some((low, high)) = self.humanline else {
            return;
        };
        let mut inside = 0;
        for ((logp, slope), base) in prepared
            .logps
            .iter_mut()
            .zip(&mut prepared.slopes)
            .zip(base)
        {
            let ratio = *logp - base;
            if ratio < low || ratio > high {
                *logp = base + if ratio < low { low } else { high };
                *slope = 0.0;
            }
            inside += usize::from(low < ratio && ratio < high);
        }
        prepared.inside = Some(inside);
    }

    /// LD-DPO, then the sums: rows get those of their tokens as they are now.
    fn shorten(&self, batch: &Batch, prepared: &mut Prepared) {
        let spans = spans(batch.rows);
        let rows = prepared.rows.to_mut();
        for (index, span) in spans.iter().enumerate() {
            let partner = spans[(index ^ 1).min(spans.len() - 1)].len();
            let shared = match self.ld_alpha < 1.0 {
                true => span.len().min(partner),
                false => span.len(),
            };
            let tail = span.start + shared..span.end;
            for t in tail.clone() {
                prepared.logps[t] *= self.ld_alpha;
                prepared.slopes[t] *= self.ld_alpha;
            }
            rows[index].logp = prepared.logps[span.clone()].iter().sum();
            if self.ld_alpha < 1.0 && !batch.tokens.ref_logps.is_empty() {
                let kept: f64 = batch.tokens.ref_logps[span.start..tail.start].iter().sum();
                let rest: f64 = batch.tokens.ref_logps[tail].iter().sum();
                rows[index].ref_logp = kept + self.ld_alpha * rest;
            }
        }
    }

    /// WPO's weights, into the rows of each pair.
    fn weigh(&self, batch: &Batch, prepared: &mut Prepared) {
        let spans = spans(batch.rows);
        let log_weight = |index: usize| {
            let (row, span) = (&batch.rows[index], spans[index].clone());
            let n = f64::from(row.tokens);
            match self.wpo {
                Wpo::Exact => {
                    let collisions: f64 = batch.tokens.log_collisions[span].iter().sum();
                    (row.logp - collisions) / n
                }
                _ => row.logp / n,
            }
        };
        let logs: Vec<f64> = (0..batch.rows.len()).map(log_weight).collect();
        let rows = prepared.rows.to_mut();
        for (pair, logs) in rows.chunks_mut(2).zip(logs.chunks(2)) {
            let log: f64 = logs.iter().sum();
            let capped = match self.wpo {
                Wpo::Plain if log > 0.0 => 0.0,
                _ => log,
            };
            let weight = libm::exp(capped);
            pair.iter_mut().for_each(|row| row.weight *= weight);
        }
    }
}

/// Where each row's tokens stand.
pub(crate) fn spans(rows: &[Row]) -> Vec<Range<usize>> {
    let mut end = 0;
    rows.iter()
        .map(|row| {
            let start = end;
            end += row.tokens as usize;
            start..end
        })
        .collect()
}
