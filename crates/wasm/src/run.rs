//! A run's examples under any loss: who has learnt, who pulls, who was given up. Every count is of all examples, never of a sample.

use std::collections::HashMap;

use halo_loss::curve::Curve;
use halo_loss::saturation::{bounds, places};
use halo_loss::{Label, Loss, Normalizer, Row, Zone, evaluate};

use crate::evaluate::zone;

/// Columns of a run as a file has them, a number per line; NaN and 0 tokens stand for what a line does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns<'a> {
    /// Whether each is desirable: 1 or 0.
    pub label: &'a [u8],
    /// ln π, nats.
    pub logp: &'a [f64],
    /// ln π_ref, nats.
    pub ref_logp: &'a [f64],
    /// Completion tokens.
    pub tokens: &'a [u32],
    /// The reference point that it was compared with.
    pub z0: &'a [f64],
    /// Its weight, less that of its class.
    pub weight: &'a [f64],
    /// The optimiser step that saw it.
    pub step: &'a [u32],
    /// Equal for sights of one example (of the chosen one, for both of a pair).
    pub unit: &'a [u32],
}

/// A run, as its examples were seen last up to a step.
#[derive(Clone, Debug)]
pub struct Run {
    all: Vec<Row>,
    own_z0: Vec<bool>,
    step: Vec<u32>,
    unit: Vec<u32>,
    size: usize,
    /// Lines of the file, in units of `size`.
    current: Vec<usize>,
    rows: Vec<Row>,
    z0: f64,
}

/// Numbers that [`Run::standing`] gives: learnt, active, given up of desirable and of undesirable examples; mean |g|/g_max (NaN where a
/// loss has no steepest slope); (Σ|g|)²/Σg².
pub const STANDING: usize = 8;

impl Run {
    /// Of columns in which pairs stand as chosen, rejected, in turn.
    ///
    /// # Errors
    /// Columns of unequal length; pairs out of turn.
    pub fn new(columns: &Columns, paired: bool) -> Result<Run, String> {
        let n = columns.label.len();
        let lengths = [
            columns.logp.len(),
            columns.ref_logp.len(),
            columns.tokens.len(),
            columns.z0.len(),
            columns.weight.len(),
            columns.step.len(),
            columns.unit.len(),
        ];
        if lengths.iter().any(|length| *length != n) {
            return Err("columns of unequal length".into());
        }
        let size = if paired { 2 } else { 1 };
        if !n.is_multiple_of(size) {
            return Err("the last pair has no rejected completion".into());
        }
        let row = |at: usize| Row {
            logp: columns.logp[at],
            ref_logp: or(columns.ref_logp[at], 0.0),
            tokens: columns.tokens[at],
            label: match columns.label[at] {
                0 => Label::Undesirable,
                _ => Label::Desirable,
            },
            z0: or(columns.z0[at], 0.0),
            weight: or(columns.weight[at], 1.0),
            ..Row::default()
        };
        let mut run = Run {
            all: (0..n).map(row).collect(),
            own_z0: columns.z0.iter().map(|z0| !z0.is_nan()).collect(),
            step: columns.step.to_vec(),
            unit: columns.unit.to_vec(),
            size,
            current: Vec::new(),
            rows: Vec::new(),
            z0: 0.0,
        };
        run.until(u32::MAX);
        Ok(run)
    }

    /// Goes to each example's last sight up to a step; gives how many rows that are.
    pub fn until(&mut self, step: u32) -> usize {
        let mut found: HashMap<u32, usize> = HashMap::new();
        self.current.clear();
        for first in (0..self.all.len()).step_by(self.size) {
            if self.step[first] > step {
                continue;
            }
            let next = self.current.len();
            let at = *found.entry(self.unit[first]).or_insert(next);
            match self.current.get_mut(at) {
                None => self.current.push(first),
                Some(earlier) if self.step[*earlier] <= self.step[first] => *earlier = first,
                Some(_) => {}
            }
        }
        self.collect();
        self.rows.len()
    }

    /// The reference point of rows whose file gives none, nats.
    pub fn set_z0(&mut self, z0: f64) {
        self.z0 = z0;
        self.collect();
    }

    fn collect(&mut self) {
        let lines = self
            .current
            .iter()
            .flat_map(|&first| first..first + self.size);
        let row = |at: usize| Row {
            z0: if self.own_z0[at] {
                self.all[at].z0
            } else {
                self.z0
            },
            ..self.all[at]
        };
        self.rows = lines.map(row).collect();
    }

    /// How the rows stand under a loss: [`STANDING`] numbers.
    ///
    /// # Errors
    /// A loss of another shape; rows that it cannot read.
    pub fn standing(&self, loss: &Loss, tolerance: f64) -> Result<Vec<f64>, String> {
        let text = |error: halo_loss::Error| error.to_string();
        let places = places(loss, &self.rows, tolerance).map_err(text)?;
        let mut out = vec![0.0; STANDING];
        for (row, (_, zone)) in self.rows.iter().zip(&places) {
            let class = usize::from(row.label == Label::Undesirable);
            out[3 * class + crate::evaluate::zone(*zone) as usize] += 1.0;
        }
        let result = evaluate(loss, &self.rows, &Normalizer::of(loss, &self.rows)).map_err(text)?;
        let units = self.rows.len() as f64 / loss.rows_per_unit() as f64;
        // the slope of a mean is a token's share of it
        let averages = Curve::new(loss, 100).map_err(text)?.scale() != 1.0;
        let (mut sum, mut squares, mut used) = (0.0, 0.0, 0.0);
        for (slope, row) in result.dlogps.iter().zip(&self.rows) {
            sum += slope.abs();
            squares += slope * slope;
            used += slope.abs() * if averages { f64::from(row.tokens) } else { 1.0 };
        }
        // slopes are divided by the units: times units is the slope of one
        let steepest = bounds(loss, tolerance).map_err(text)?.max_slope;
        out[6] = steepest.map_or(f64::NAN, |steepest| {
            used * units / (self.rows.len() as f64 * steepest)
        });
        out[7] = if squares > 0.0 {
            sum * sum / squares
        } else {
            0.0
        };
        Ok(out)
    }

    /// The units furthest on the wrong side, the furthest first, four numbers each: line of the file, nats on the right side (so below
    /// 0), zone, share of the pull.
    ///
    /// # Errors
    /// As [`Run::standing`].
    pub fn furthest(&self, loss: &Loss, tolerance: f64, top: usize) -> Result<Vec<f64>, String> {
        let text = |error: halo_loss::Error| error.to_string();
        let places = places(loss, &self.rows, tolerance).map_err(text)?;
        let slopes = evaluate(loss, &self.rows, &Normalizer::of(loss, &self.rows))
            .map_err(text)?
            .dlogps;
        let whole: f64 = slopes.iter().map(|slope| slope.abs()).sum();
        let mut order: Vec<usize> = (0..self.current.len())
            .filter(|unit| places[unit * self.size].0 < 0.0)
            .collect();
        order.sort_by(|&a, &b| places[a * self.size].0.total_cmp(&places[b * self.size].0));
        order.truncate(top);
        let numbers = |unit: usize| {
            let rows = unit * self.size..(unit + 1) * self.size;
            let own: f64 = slopes[rows.clone()].iter().map(|slope| slope.abs()).sum();
            let (progress, at) = places[rows.start];
            let share = if whole > 0.0 { own / whole } else { 0.0 };
            [self.current[unit] as f64, progress, zone(at), share]
        };
        Ok(order.into_iter().flat_map(numbers).collect())
    }

    /// How many rows lie in each of `n` equal bins of an axis, desirable then undesirable, then below and above the axis of each: of
    /// r − z₀, or of the margin for pairs.
    pub fn bins(&self, low: f64, high: f64, n: usize) -> Vec<u32> {
        let mut counts = vec![0; 2 * n + 4];
        for (at, label) in self.positions() {
            let class = usize::from(label == Label::Undesirable);
            let bin = (at - low) / (high - low) * n as f64;
            let index = match bin {
                bin if bin < 0.0 => 2 * n + 2 * class,
                bin if at > high || bin.is_nan() => 2 * n + 2 * class + 1,
                // the axis's end belongs to the last bin
                bin => class * n + (bin as usize).min(n - 1),
            };
            counts[index] += 1;
        }
        counts
    }

    /// Least and greatest position, and how many are desirable and undesirable (a pair is its chosen).
    pub fn extent(&self) -> Vec<f64> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut labels = [0.0, 0.0];
        for (at, label) in self.positions() {
            low = if at < low { at } else { low };
            high = if at > high { at } else { high };
            labels[usize::from(label == Label::Undesirable)] += 1.0;
        }
        vec![low, high, labels[0], labels[1]]
    }

    /// Zones over time, four numbers a step: the step, and how many of the rows that it saw were learnt, active, given up.
    ///
    /// # Errors
    /// As [`Run::standing`].
    pub fn over_steps(&self, loss: &Loss, tolerance: f64) -> Result<Vec<f64>, String> {
        let mut rows = self.all.clone();
        for (row, own) in rows.iter_mut().zip(&self.own_z0) {
            row.z0 = if *own { row.z0 } else { self.z0 };
        }
        let places = places(loss, &rows, tolerance).map_err(|e| e.to_string())?;
        let mut steps: std::collections::BTreeMap<u32, [f64; 3]> = Default::default();
        for (step, (_, at)) in self.step.iter().zip(&places) {
            steps.entry(*step).or_default()[zone(*at) as usize] += 1.0;
        }
        let numbers = steps.iter().flat_map(|(step, [learnt, active, given])| {
            [f64::from(*step), *learnt, *active, *given]
        });
        Ok(numbers.collect())
    }

    /// The zone of each row now, as in [`Run::standing`]; with the line of the file, two numbers a row.
    ///
    /// # Errors
    /// As [`Run::standing`].
    pub fn given_up(&self, loss: &Loss, tolerance: f64) -> Result<Vec<u32>, String> {
        let places = places(loss, &self.rows, tolerance).map_err(|e| e.to_string())?;
        let units = self.current.iter().zip(places.chunks(self.size));
        let given = units.filter(|(_, places)| places[0].1 == Zone::GivenUp);
        Ok(given.map(|(line, _)| *line as u32).collect())
    }

    fn positions(&self) -> impl Iterator<Item = (f64, Label)> {
        self.rows.chunks(self.size).map(|unit| match unit {
            [chosen, rejected] => (
                (chosen.logp - chosen.ref_logp) - (rejected.logp - rejected.ref_logp),
                Label::Desirable,
            ),
            unit => (unit[0].logp - unit[0].ref_logp - unit[0].z0, unit[0].label),
        })
    }
}

fn or(x: f64, otherwise: f64) -> f64 {
    if x.is_nan() { otherwise } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halo_loss::Params;

    fn columns<'a>(
        logp: &'a [f64],
        zeros: &'a [f64],
        ones: &'a [f64],
        label: &'a [u8],
    ) -> Columns<'a> {
        Columns {
            label,
            logp,
            ref_logp: zeros,
            tokens: &[5, 5, 5, 5],
            z0: zeros,
            weight: ones,
            step: &[1, 1, 2, 2],
            unit: &[0, 1, 0, 2],
        }
    }

    #[test]
    fn counts_are_of_each_examples_last_sight() {
        let (zeros, ones) = ([0.0; 4], [1.0; 4]);
        let columns = columns(&[-90.0, 3.0, 90.0, -70.0], &zeros, &ones, &[1, 1, 1, 0]);
        let mut run = Run::new(&columns, false).unwrap();
        let kto = Loss::new("kto", &Params::new()).unwrap();
        let counts = |run: &Run| run.standing(&kto, 0.01).unwrap()[..6].to_vec();
        assert_eq!(counts(&run), [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(run.until(1), 2);
        assert_eq!(counts(&run), [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        let furthest = run.furthest(&kto, 0.01, 50).unwrap();
        assert_eq!(furthest[..3], [0.0, -90.0, 2.0]);
        assert_eq!(run.given_up(&kto, 0.01).unwrap(), [0]);
        let steps = run.over_steps(&kto, 0.01).unwrap();
        assert_eq!(steps, [1.0, 0.0, 1.0, 1.0, 2.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn bins_hold_every_row() {
        let (zeros, ones) = ([0.0; 4], [1.0; 4]);
        let columns = columns(&[-9.0, 10.0, 0.0, 11.0], &zeros, &ones, &[1, 1, 0, 0]);
        let mut run = Run::new(&columns, false).unwrap();
        run.until(9);
        let bins = run.bins(-10.0, 10.0, 4);
        // the first example was seen again at 0
        assert_eq!(bins, [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(bins.iter().sum::<u32>(), 3);
    }

    #[test]
    fn a_pair_is_a_unit() {
        let (zeros, ones) = ([0.0; 4], [1.0; 4]);
        let mut columns = columns(&[60.0, 0.0, -60.0, 0.0], &zeros, &ones, &[1, 0, 1, 0]);
        columns.unit = &[0, 0, 1, 1];
        let run = Run::new(&columns, true).unwrap();
        let dpo = Loss::new("dpo", &Params::new()).unwrap();
        assert_eq!(
            run.standing(&dpo, 0.01).unwrap()[..6],
            [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]
        );
        assert_eq!(run.extent(), [-60.0, 60.0, 2.0, 0.0]);
        let kto = Loss::new("kto", &Params::new()).unwrap();
        assert!(run.standing(&kto, 0.01).is_ok(), "halves of pairs are rows");
    }
}
