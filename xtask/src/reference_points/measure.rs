//! Every estimator over the same runs, driven as a trainer drives it: observe, accumulate rank by rank, finish, assign.

use std::ops::Range;

use halo_loss::reference_point::NAMES;
use halo_loss::value::Value;
use halo_loss::{Estimator, Row, Source};
use halo_train::Rng;

use super::data::{Behaviour, Draw, Origin};
use super::world::{MEASURED, Path, STEPS, World};

/// Runs, and with them draws of batches that are measured.
pub(super) const RUNS: usize = 64;
pub(super) const DRAWS: usize = RUNS * (STEPS - MEASURED);
/// Of the loss whose gradient weights are compared.
pub(super) const BETA: f64 = 0.1;

/// One setting of the study.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) behaviour: Behaviour,
    /// Rows of a step, over all ranks.
    pub(super) size: usize,
    /// Answers to each prompt.
    pub(super) siblings: usize,
}

/// What came of a case.
pub(super) struct Measured {
    pub(super) case: Case,
    /// The exact divergence, the mean over the measured steps, nats.
    pub(super) exact: f64,
    /// One for each of [`NAMES`].
    pub(super) scores: Vec<Score>,
}

/// What came of one estimator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Score {
    draws: f64,
    raw: f64,
    value: f64,
    clamped: f64,
    rows: f64,
    /// Of each row's point from the exact mean divergence: sum and sum of squares.
    error: f64,
    square: f64,
    /// From the exact divergence of the row's own prompt.
    own_square: f64,
    /// Of the gradient's weight βσ′(β(r − z₀)): absolute change against the exact point's, and that itself.
    change: f64,
    weight: f64,
}

impl Score {
    pub(super) fn raw(&self) -> f64 {
        self.raw / self.draws
    }

    pub(super) fn value(&self) -> f64 {
        self.value / self.draws
    }

    pub(super) fn clamped(&self) -> f64 {
        self.clamped / self.draws
    }

    pub(super) fn bias(&self) -> f64 {
        self.error / self.rows
    }

    /// Of what the rows get, about its mean error: nats.
    pub(super) fn deviation(&self) -> f64 {
        let variance = self.square / self.rows - self.bias() * self.bias();
        variance.max(0.0).sqrt()
    }

    pub(super) fn rmse(&self) -> f64 {
        (self.square / self.rows).sqrt()
    }

    pub(super) fn own_rmse(&self) -> f64 {
        (self.own_square / self.rows).sqrt()
    }

    /// In units of the mean weight with the exact point; not a number for `uniform`, which no log-ratio is compared with.
    pub(super) fn change(&self) -> f64 {
        self.change / self.weight
    }

    /// One step: what the estimator said, what the rows got, and what was exact.
    fn add(&mut self, point: &halo_loss::Point, rows: &[Row], exact: f64, own: &[f64]) {
        self.draws += 1.0;
        self.raw += point.raw;
        self.value += point.value;
        self.clamped += point.clamped;
        let weight = |row: &Row, z0| {
            let gain = row.label.sign() * (row.logp - row.ref_logp - z0);
            BETA * Value::Logistic.at(BETA * gain).1
        };
        for (row, own) in rows.iter().zip(own) {
            let error = row.z0 - exact;
            self.rows += 1.0;
            self.error += error;
            self.square += error * error;
            self.own_square += (row.z0 - own) * (row.z0 - own);
            let expected = weight(row, exact);
            self.change += (weight(row, row.z0) - expected).abs();
            self.weight += expected;
        }
    }
}

/// Runs a case.
///
/// # Errors
/// A name of the registry that it does not know itself.
pub(super) fn measure(
    world: &World,
    path: &Path,
    case: Case,
    rng: &Rng,
) -> Result<Measured, String> {
    let origin = Origin::new(world, path, case.behaviour, rng.fork(RUNS as u64));
    let mut scores = vec![Score::default(); NAMES.len()];
    let estimators = NAMES.iter().map(|name| Estimator::new(name));
    let estimators: Vec<Estimator> = estimators
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let ranks = ranks(case.size);
    for run in 0..RUNS {
        let mut rng = rng.fork(run as u64);
        let mut memories = vec![Vec::new(); NAMES.len()];
        for step in 0..STEPS {
            let mut draw = origin.draw(step, case.size, case.siblings, &mut rng);
            let own: Vec<f64> = draw.prompts.iter().map(|&x| path.own[step][x]).collect();
            for (i, estimator) in estimators.iter().enumerate() {
                let measured = step >= MEASURED;
                // An estimator that left nothing after its first step remembers nothing.
                if !measured && step > 0 && memories[i].is_empty() {
                    continue;
                }
                let point = point(estimator, &ranks, &mut draw, &mut memories[i]);
                if measured {
                    scores[i].add(&point, &draw.own.rows, path.exact[step], &own);
                    if estimator.name() == "uniform" {
                        scores[i].weight = 0.0;
                        scores[i].change = 0.0;
                    }
                }
            }
        }
    }
    let exact = &path.exact[MEASURED..];
    Ok(Measured {
        case,
        exact: exact.iter().sum::<f64>() / exact.len() as f64,
        scores,
    })
}

/// One step of one estimator: the rows have their points afterwards.
fn point(
    estimator: &Estimator,
    ranks: &[Range<usize>],
    draw: &mut Draw,
    memory: &mut Vec<f64>,
) -> halo_loss::Point {
    let batch = match estimator.source() {
        Source::Mismatched => draw.twins.batch(),
        Source::Matched | Source::None => draw.own.batch(),
    };
    let observed = estimator.observe(&batch);
    let groups = draw.own.rows.last().map_or(0, |row| row.group as usize + 1);
    let mut sums = estimator.sums(groups);
    for share in ranks {
        let rows = &draw.own.rows[share.clone()];
        estimator.accumulate(&mut sums, rows, &observed[share.clone()]);
    }
    let point = estimator.finish(&sums, memory);
    estimator.assign(&point, &sums, &mut draw.own.rows, &observed)
}

/// Which rows each rank has: one to one to two to four, as ranks with a limit of tokens have unequal counts; of two rows, one each.
fn ranks(size: usize) -> Vec<Range<usize>> {
    let eighth = size / 8;
    let ends = match eighth {
        0 => (0..=size).collect(),
        _ => vec![0, eighth, 2 * eighth, 4 * eighth, size],
    };
    ends.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_have_every_row_once() {
        assert_eq!(ranks(2), [0..1, 1..2]);
        assert_eq!(ranks(8), [0..1, 1..2, 2..4, 4..8]);
        assert_eq!(ranks(32), [0..4, 4..8, 8..16, 16..32]);
    }

    #[test]
    fn a_score_takes_bias_and_deviation_apart() {
        let mut score = Score::default();
        let rows = [3.0, 5.0].map(|z0| Row {
            z0,
            ..Row::default()
        });
        score.add(&halo_loss::Point::default(), &rows, 1.0, &[3.0, 5.0]);
        assert_eq!(
            (score.bias(), score.deviation(), score.own_rmse()),
            (3.0, 1.0, 0.0)
        );
        assert_eq!(score.rmse(), 10f64.sqrt());
    }
}
