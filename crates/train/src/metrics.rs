//! What an optimiser step reports: one line of `metrics.jsonl`.

use halo_loss::{Evaluation, Label, Point, Row, Scope, Zone};
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
    /// Share of the units whose value is not the loss's own curve (a chord, a capped exponent), or whose slope is beyond what single
    /// precision carries; of losses over tokens, share of the tokens whose ratio is clipped.
    pub clipped: f64,
    /// Under humanline: share of the tokens whose log-ratio is strictly within its range.
    pub inside: Option<f64>,
    /// Norm of the whole gradient before clipping, as the optimiser reported it.
    pub grad_norm: f64,
    /// The rate that this step used.
    pub learning_rate: f64,
    /// Rows (tokens) that the policy's forward passes computed: prompts once per pack, y′ included, the reference not.
    pub tokens: u64,
    /// Scored completion tokens of the labelled examples: the useful work. y′ does not count.
    pub completion_tokens: u64,
}

impl StepMetrics {
    /// Sets z₀ of rows that share one: the micro-batches' points.
    pub(crate) fn shared_points(&mut self, scope: Scope, points: &[Point]) {
        // One z₀ of the whole step stands in every micro-batch; a mean of equals could still round.
        let points = match scope {
            Scope::Step => &points[..1],
            Scope::Microbatch => points,
        };
        let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
        let clamped = mean(|z0| z0.clamped);
        self.kl = Some(mean(|z0| z0.value));
        self.kl_raw = Some(mean(|z0| z0.raw));
        self.kl_clamped = Some(
            match scope == Scope::Step && (clamped == 0.0 || clamped == 1.0) {
                true => Clamped::Flag(clamped == 1.0),
                false => Clamped::Share(clamped),
            },
        );
    }
}

/// Whether z₀'s clamp fired: yes or no for the step's one z₀, the share of micro-batches or rows where each has its own.
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
pub struct Sums {
    loss: f64,
    /// By class, desirable first.
    count: [f64; 2],
    reward: [f64; 2],
    logp: [f64; 2],
    /// Learnt, active, given up.
    zones: [f64; 3],
    /// Clipped, and what it is a share of; inside, and the tokens looked at.
    shares: [f64; 4],
    /// z₀ of rows that have their own: raw, used, clamped, count.
    points: [f64; 4],
    tokens: f64,
}

impl Sums {
    /// How many numbers they are.
    pub const WIDTH: usize = 19;

    /// Adds rows and what a loss said about them.
    pub fn add(&mut self, rows: &[Row], evaluation: &Evaluation) {
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
        let tokens: f64 = rows.iter().map(|row| f64::from(row.tokens)).sum();
        self.shares[0] += evaluation.clipped as f64;
        self.shares[1] += match evaluation.per_token {
            true => tokens,
            false => evaluation.values.len() as f64,
        };
        if let Some(inside) = evaluation.inside {
            self.shares[2] += inside as f64;
            self.shares[3] += tokens;
        }
    }

    pub(crate) fn add_tokens(&mut self, rows: usize) {
        self.tokens += rows as f64;
    }

    /// The mean of `count` rows' own points.
    pub fn add_points(&mut self, mean: &Point, count: usize) {
        let count = count as f64;
        let parts = [
            mean.raw * count,
            mean.value * count,
            mean.clamped * count,
            count,
        ];
        self.points
            .iter_mut()
            .zip(parts)
            .for_each(|(sum, part)| *sum += part);
    }

    /// Flat, for the sum over ranks.
    pub fn to_vec(&self) -> Vec<f64> {
        let parts: [&[f64]; 8] = [
            &[self.loss],
            &self.count,
            &self.reward,
            &self.logp,
            &self.zones,
            &self.shares,
            &self.points,
            &[self.tokens],
        ];
        parts.concat()
    }

    /// The inverse of [`Sums::to_vec`]; none for another length.
    pub fn from_slice(sums: &[f64]) -> Option<Sums> {
        let sums: &[f64; Sums::WIDTH] = sums.try_into().ok()?;
        let part = |at: usize| [sums[at], sums[at + 1]];
        let four = |at: usize| [sums[at], sums[at + 1], sums[at + 2], sums[at + 3]];
        Some(Sums {
            loss: sums[0],
            count: part(1),
            reward: part(3),
            logp: part(5),
            zones: [sums[7], sums[8], sums[9]],
            shares: four(10),
            points: four(14),
            tokens: sums[18],
        })
    }

    /// The metrics, but for what only the step itself knows.
    pub fn finish(&self) -> StepMetrics {
        let mean = |sums: [f64; 2], class: usize| {
            (self.count[class] > 0.0).then(|| sums[class] / self.count[class])
        };
        let share = |zone: usize| self.zones[zone] / self.zones.iter().sum::<f64>().max(1.0);
        let (chosen, rejected) = (mean(self.reward, 0), mean(self.reward, 1));
        let [raw, used, clamped, rows] = self.points;
        let of_rows = |sum: f64| (rows > 0.0).then(|| sum / rows);
        let [clipped, units, inside, tokens] = self.shares;
        StepMetrics {
            step: 0,
            epoch: 0.0,
            loss: self.loss,
            kl: of_rows(used),
            kl_raw: of_rows(raw),
            kl_clamped: of_rows(clamped).map(Clamped::Share),
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
            clipped: clipped / units.max(1.0),
            inside: (tokens > 0.0).then(|| inside / tokens),
            grad_norm: 0.0,
            learning_rate: 0.0,
            tokens: self.tokens as u64,
            completion_tokens: 0,
        }
    }
}
