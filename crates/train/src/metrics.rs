//! What an optimiser step reports: one line of `metrics.jsonl`.

use halo_loss::{Evaluation, Label, Row, Zone};
use serde::{Deserialize, Serialize};

/// The metrics of one optimiser step over all micro-batches and ranks.
///
/// Serialises to exactly the keys of `metrics.jsonl`, less `step_seconds`, which belongs to whoever has a clock. What
/// a step cannot say (rewards of an absent class, `kl` of a loss without a reference point) is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Optimiser steps completed, so 1 for the first.
    pub step: u64,
    /// Epochs completed, with the fraction of the running one.
    pub epoch: f64,
    /// Sum of the loss over the step's examples (pairs, tokens) divided by their global count.
    pub loss: f64,
    /// z₀ in nats as used, clamp included; with scope `microbatch` the mean over micro-batches.
    pub kl: Option<f64>,
    /// The same before the clamp.
    pub kl_raw: Option<f64>,
    /// Whether the clamp fired.
    pub kl_clamped: Option<Clamped>,
    /// Mean β·log-ratio of the desirable rows, nats.
    #[serde(rename = "rewards/chosen")]
    pub rewards_chosen: Option<f64>,
    /// Mean β·log-ratio of the undesirable rows, nats.
    #[serde(rename = "rewards/rejected")]
    pub rewards_rejected: Option<f64>,
    /// Their difference.
    #[serde(rename = "rewards/margins")]
    pub rewards_margins: Option<f64>,
    /// Mean log-probability of the desirable rows, nats, sums over completion tokens.
    #[serde(rename = "logps/chosen")]
    pub logps_chosen: Option<f64>,
    /// Mean log-probability of the undesirable rows.
    #[serde(rename = "logps/rejected")]
    pub logps_rejected: Option<f64>,
    /// Share of rows on whose right side the loss is saturated.
    pub learnt: f64,
    /// Share of rows that still move the policy.
    pub active: f64,
    /// Share of rows on whose wrong side the loss is saturated.
    pub given_up: f64,
    /// Norm of the whole gradient before clipping, as the optimiser reported it.
    pub grad_norm: f64,
    /// The rate that this step used.
    pub learning_rate: f64,
    /// Rows (tokens) that the policy's forward passes computed: prompts once per pack, y′ included, the reference not.
    pub tokens: u64,
    /// Scored completion tokens of the labelled examples: the useful work. y′ does not count.
    pub completion_tokens: u64,
}

/// Whether z₀'s clamp fired: yes or no for the step's one z₀, the share of micro-batches where each has its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Clamped {
    /// Scope `step`.
    Flag(bool),
    /// Scope `microbatch`.
    Share(f64),
}

/// The sums behind the means, added over micro-batches and ranks before anything is divided: a rank that saw one class
/// only must not distort the other's mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    loss: f64,
    /// By class, desirable first.
    count: [f64; 2],
    reward: [f64; 2],
    logp: [f64; 2],
    /// Learnt, active, given up.
    zones: [f64; 3],
    tokens: f64,
}

impl Sums {
    pub(crate) fn add(&mut self, rows: &[Row], evaluation: &Evaluation) {
        self.loss += evaluation.loss;
        for (row, &reward) in rows.iter().zip(&evaluation.rewards) {
            let class = usize::from(row.label == Label::Undesirable);
            self.count[class] += 1.0;
            self.reward[class] += reward;
            self.logp[class] += row.logp;
        }
        for zone in &evaluation.zones {
            self.zones[match zone {
                Zone::Learnt => 0,
                Zone::Active => 1,
                Zone::GivenUp => 2,
            }] += 1.0;
        }
    }

    pub(crate) fn add_tokens(&mut self, rows: usize) {
        self.tokens += rows as f64;
    }

    /// Flat, for the sum over ranks.
    pub(crate) fn to_vec(&self) -> Vec<f64> {
        let parts: [&[f64]; 6] = [
            &[self.loss],
            &self.count,
            &self.reward,
            &self.logp,
            &self.zones,
            &[self.tokens],
        ];
        parts.concat()
    }

    /// The inverse of [`Sums::to_vec`]; none for another length.
    pub(crate) fn from_slice(sums: &[f64]) -> Option<Sums> {
        let &[
            loss,
            n0,
            n1,
            r0,
            r1,
            l0,
            l1,
            learnt,
            active,
            given_up,
            tokens,
        ] = sums
        else {
            return None;
        };
        let zones = [learnt, active, given_up];
        Some(Sums {
            loss,
            count: [n0, n1],
            reward: [r0, r1],
            logp: [l0, l1],
            zones,
            tokens,
        })
    }

    /// The metrics, but for what only the step itself knows.
    pub(crate) fn finish(&self) -> StepMetrics {
        let mean = |sums: [f64; 2], class: usize| {
            (self.count[class] > 0.0).then(|| sums[class] / self.count[class])
        };
        let share = |zone: usize| self.zones[zone] / self.zones.iter().sum::<f64>().max(1.0);
        let (chosen, rejected) = (mean(self.reward, 0), mean(self.reward, 1));
        StepMetrics {
            step: 0,
            epoch: 0.0,
            loss: self.loss,
            kl: None,
            kl_raw: None,
            kl_clamped: None,
            rewards_chosen: chosen,
            rewards_rejected: rejected,
            rewards_margins: chosen
                .zip(rejected)
                .map(|(chosen, rejected)| chosen - rejected),
            logps_chosen: mean(self.logp, 0),
            logps_rejected: mean(self.logp, 1),
            learnt: share(0),
            active: share(1),
            given_up: share(2),
            grad_norm: 0.0,
            learning_rate: 0.0,
            tokens: self.tokens as u64,
            completion_tokens: 0,
        }
    }
}
