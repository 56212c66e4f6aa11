//! Where an evaluation's results go: from the loss's order back to the host's rows and tokens.

use std::ffi::c_void;

use ::halo_loss::{Evaluation, Loss, Point, Zone};
use halo_train::metrics::Sums;

use super::{HALO_ZONE_ACTIVE, HALO_ZONE_GIVEN_UP, HALO_ZONE_LEARNT, halo_loss_result};
use crate::batch::{Columns, HALO_F64, Picked};
use crate::failure::{Failure, Outcome};
use crate::intake::{Host, Outs};
use crate::status::*;

/// Where results go.
pub(super) struct Places {
    pub(super) d_logp: Column,
    d_token_logp: Column,
    row_loss: Column,
    row_reward: Column,
    row_zone: Outs<u8>,
    metric_sums: Outs<f64>,
}

/// A column of the batch's dtype.
pub(super) enum Column {
    Single(Outs<f32>),
    Double(Outs<f64>),
}

impl Column {
    pub(super) fn wanted(&self) -> bool {
        match self {
            Column::Single(outs) => outs.wanted(),
            Column::Double(outs) => outs.wanted(),
        }
    }

    fn write(&self, values: impl IntoIterator<Item = f64>) {
        match self {
            Column::Single(outs) => outs.write(values.into_iter().map(|value| value as f32)),
            Column::Double(outs) => outs.write(values),
        }
    }
}

impl Places {
    /// # Errors
    /// A place that is misaligned, a metric count that is none.
    pub(super) fn read(
        host: &Host,
        columns: &Columns,
        result: &halo_loss_result,
    ) -> Outcome<Places> {
        let column = |name, start: *mut c_void, len| {
            Outcome::Ok(match columns.batch.dtype {
                HALO_F64 => Column::Double(host.outs(2, name, start.cast(), len)?),
                _ => Column::Single(host.outs(2, name, start.cast(), len)?),
            })
        };
        let count = result.metric_count;
        if count != 0 && count != Sums::WIDTH {
            let message = format!("result.metric_count = {count} is not {}", Sums::WIDTH);
            let failure = Failure::new(HALO_E_SHAPE, "result.metric_count", message);
            return Err(failure.argument(2));
        }
        let (rows, tokens) = (columns.batch.rows, columns.total);
        Ok(Places {
            d_logp: column("result.d_logp", result.d_logp, rows)?,
            d_token_logp: column("result.d_token_logp", result.d_token_logp, tokens)?,
            row_loss: column("result.row_loss", result.row_loss, rows)?,
            row_reward: column("result.row_reward", result.row_reward, rows)?,
            row_zone: host.outs(2, "result.row_zone", result.row_zone, rows)?,
            metric_sums: host.outs(2, "result.metric_sums", result.metric_sums, count)?,
        })
    }

    /// Whether the host asks for nothing beyond the value and the gradient of whole rows.
    pub(super) fn gradient_only(&self) -> bool {
        let columns = [&self.d_token_logp, &self.row_loss, &self.row_reward];
        !columns.iter().any(|column| column.wanted())
            && !self.row_zone.wanted()
            && !self.metric_sums.wanted()
    }

    /// dL/dlogp of rows in the host's order.
    pub(super) fn write_gradient(&self, columns: &Columns, slopes: &[f64]) {
        match columns.batch.grad_scale {
            0.0 | 1.0 => self.d_logp.write(slopes.iter().copied()),
            scale => self.d_logp.write(slopes.iter().map(|slope| slope * scale)),
        }
    }

    /// Writes what the host wants to see.
    pub(super) fn write(
        &self,
        loss: &Loss,
        columns: &Columns,
        picked: &Picked,
        evaluation: &Evaluation,
    ) {
        let scale = match columns.batch.grad_scale {
            0.0 => 1.0,
            scale => scale,
        };
        let rows = columns.batch.rows;
        // values in the loss's order, back to the host's rows
        let scatter = |place: &Column, values: &mut dyn Iterator<Item = f64>| {
            if place.wanted() {
                let mut all = vec![0.0; rows];
                picked
                    .source
                    .iter()
                    .zip(values)
                    .for_each(|(&row, value)| all[row] = value);
                place.write(all);
            }
        };
        let scaled = evaluation.dlogps.iter().map(|slope| slope * scale);
        scatter(&self.d_logp, &mut scaled.clone());
        scatter(&self.row_reward, &mut evaluation.rewards.iter().copied());
        let size = loss.rows_per_unit();
        let value = |row: usize| match row % size {
            0 => evaluation.values[row / size],
            _ => 0.0,
        };
        scatter(&self.row_loss, &mut (0..picked.rows.len()).map(value));
        if self.d_token_logp.wanted() {
            let mut all = vec![0.0; columns.total];
            match loss.per_token() {
                true => {
                    let slopes = evaluation.token_dlogps.iter().map(|slope| slope * scale);
                    picked
                        .token_source
                        .iter()
                        .zip(slopes)
                        .for_each(|(&at, slope)| all[at] = slope);
                }
                // every token of a completion has its row's
                false => {
                    for (&row, slope) in picked.source.iter().zip(scaled) {
                        columns.counted(row).for_each(|at| all[at] = slope);
                    }
                }
            }
            self.d_token_logp.write(all);
        }
        if self.row_zone.wanted() {
            let mut all = vec![HALO_ZONE_ACTIVE; rows];
            for (&row, zone) in picked.source.iter().zip(&evaluation.zones) {
                all[row] = match zone {
                    Zone::Learnt => HALO_ZONE_LEARNT,
                    Zone::Active => HALO_ZONE_ACTIVE,
                    Zone::GivenUp => HALO_ZONE_GIVEN_UP,
                };
            }
            self.row_zone.write(all);
        }
        if self.metric_sums.wanted() {
            let mut sums = Sums::default();
            sums.add(&picked.rows, evaluation);
            if loss.reference_point().is_some() {
                let n = picked.rows.len();
                let mean = picked.rows.iter().map(|row| row.z0).sum::<f64>() / n.max(1) as f64;
                sums.add_points(
                    &Point {
                        raw: mean,
                        value: mean,
                        clamped: 0.0,
                    },
                    n,
                );
            }
            self.metric_sums.write(sums.to_vec());
        }
    }
}
