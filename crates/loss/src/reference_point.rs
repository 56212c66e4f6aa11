//! Reference points z₀, in nats and without β: what a gain or a loss is measured against.
//!
//! An estimator turns rows into sums that add up across micro-batches and ranks, and the sums into a point; some give each row
//! its own, some remember earlier steps. A point is never differentiated. A new estimator is one file in `reference_point/` and
//! one word below.

use alloc::vec;
use alloc::vec::Vec;

use crate::error::Error;
use crate::example::{Batch, Label, Row};
use crate::modifiers::spans;

/// `name` stands for `reference_point/name.rs`, which holds `ESTIMATOR`.
macro_rules! estimators {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*
        const DEFINITIONS: &[&Definition] = &[$(&$name::ESTIMATOR),*];
        /// The words for them.
        pub const NAMES: &[&str] = &[$($name::ESTIMATOR.name),*];
    };
}

estimators![
    mismatch,
    halos,
    trl,
    clamp_first,
    class_opposite,
    class_mean,
    token_max,
    batch_mean,
    leave_one_out,
    per_prompt,
    ring_buffer,
    running_mean,
    ema,
    uniform,
    zero
];

/// Which rows an estimator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Source {
    /// None.
    None,
    /// Prompts with the completion of another prompt: row i's twin is the i-th.
    Mismatched,
    /// The rows of the loss themselves.
    Matched,
}

/// Over which rows a reference point is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Scope {
    /// The optimiser step, all micro-batches and ranks: accumulation then equals the big batch.
    #[default]
    Step,
    /// A micro-batch, as TRL and HALOs.
    Microbatch,
}

/// A reference point; of an estimator that gives each row its own, the mean over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Point {
    /// The estimate before any clamp, nats.
    pub raw: f64,
    /// What the loss uses, nats.
    pub value: f64,
    /// The share of rows for which the clamp changed it: 0 or 1 where all share one point.
    pub clamped: f64,
}

/// What is observed of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    /// ln π − ln π_ref.
    LogRatio,
    /// ln π.
    Logp,
    /// The largest log-ratio of a token.
    Peak,
}

/// An observation, nats, with what is known of the row that it is made for.
#[derive(Clone, Copy, Debug)]
struct Observed {
    x: f64,
    label: Label,
    group: usize,
}

/// What an estimator may be told.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings {
    /// Per token instead of per sequence.
    length_average: bool,
    /// Whether an estimate below 0 counts as 0.
    clamp: bool,
    /// Of `ema`.
    decay: f64,
    /// Of `ring_buffer`, in rows.
    window: f64,
}

struct Definition {
    name: &'static str,
    meaning: &'static str,
    source: Source,
    measure: Measure,
    /// A divergence is not negative: an estimate of one below 0 counts as 0.
    clamp: bool,
    /// Numbers in the sums, given the count of groups.
    width: fn(groups: usize) -> usize,
    /// Adds one rank's share of one micro-batch.
    accumulate: fn(&mut [f64], &[Observed]),
    /// The point of the whole scope; may read and write what earlier steps left.
    finish: fn(&[f64], &mut Vec<f64>, &Settings) -> Point,
    /// The raw estimate for one row, where rows have their own.
    own: Option<fn(&[f64], &Observed) -> f64>,
}

/// An estimator of the reference point, by name.
#[derive(Clone, Copy)]
pub struct Estimator {
    definition: &'static Definition,
    settings: Settings,
}

impl Estimator {
    /// The estimator of that name.
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub fn new(name: &str) -> Result<Estimator, Error> {
        let definition = DEFINITIONS.iter().find(|d| d.name == name);
        let definition =
            definition.ok_or_else(|| Error::unknown("reference point", name, NAMES))?;
        let settings = Settings {
            length_average: false,
            clamp: definition.clamp,
            decay: DECAY,
            window: WINDOW,
        };
        Ok(Estimator {
            definition,
            settings,
        })
    }

    /// The same, measuring rows per token.
    pub fn length_average(mut self, length_average: bool) -> Estimator {
        self.settings.length_average = length_average;
        self
    }

    /// The same, with a clamp at 0 or without, whatever its own habit.
    pub fn clamp(mut self, clamp: bool) -> Estimator {
        self.settings.clamp = clamp;
        self
    }

    /// The same, with what `ema` keeps of its mean a step and how many rows `ring_buffer` remembers.
    pub fn memory(mut self, decay: f64, window: f64) -> Estimator {
        (self.settings.decay, self.settings.window) = (decay, window);
        self
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.definition.name
    }

    /// What it estimates, in a phrase.
    pub fn meaning(&self) -> &'static str {
        self.definition.meaning
    }

    /// Which rows it reads.
    pub fn source(&self) -> Source {
        self.definition.source
    }

    /// Whether an estimate below 0 counts as 0.
    pub fn clamps(&self) -> bool {
        self.settings.clamp
    }

    /// Whether it reads the tokens of its rows one by one.
    pub fn per_token(&self) -> bool {
        self.definition.measure == Measure::Peak
    }

    /// Whether rows have points of their own; [`Estimator::assign`] then says what they are on the whole.
    pub fn per_row(&self) -> bool {
        self.definition.own.is_some()
    }

    /// What it sees of each row, nats (per token if so set).
    pub fn observe(&self, batch: &Batch) -> Vec<f64> {
        if self.definition.measure == Measure::Peak {
            let ratio = |t: usize| batch.tokens.logps[t] - batch.tokens.ref_logps[t];
            let larger = |a: f64, b: f64| if b > a { b } else { a };
            let peak = |span: core::ops::Range<usize>| span.map(ratio).reduce(larger);
            let spans = spans(batch.rows).into_iter();
            return spans.map(|span| peak(span).unwrap_or_default()).collect();
        }
        let of = |row: &Row| {
            let sum = match self.definition.measure {
                Measure::Logp => row.logp,
                _ => row.logp - row.ref_logp,
            };
            match self.settings.length_average {
                true => sum / f64::from(row.tokens),
                false => sum,
            }
        };
        batch.rows.iter().map(of).collect()
    }

    /// Empty sums, for rows whose [`Row::group`] is below `groups`.
    pub fn sums(&self, groups: usize) -> Vec<f64> {
        vec![0.0; (self.definition.width)(groups)]
    }

    /// Adds one rank's share of one micro-batch: what was observed, and the rows that it is for, index by index.
    pub fn accumulate(&self, sums: &mut [f64], rows: &[Row], observed: &[f64]) {
        let seen: Vec<Observed> = rows.iter().zip(observed).map(Observed::new).collect();
        (self.definition.accumulate)(sums, &seen);
    }

    /// The point that the sums of the whole scope give; 0 of no rows. `memory` is what its last call left, empty at first.
    pub fn finish(&self, sums: &[f64], memory: &mut Vec<f64>) -> Point {
        (self.definition.finish)(sums, memory, &self.settings)
    }

    /// Gives the rows their points, and says what those are on the whole. Sums and observations as in [`Estimator::accumulate`].
    pub fn assign(&self, point: &Point, sums: &[f64], rows: &mut [Row], observed: &[f64]) -> Point {
        let Some(own) = self.definition.own else {
            rows.iter_mut().for_each(|row| row.z0 = point.value);
            return *point;
        };
        let mut mean = Point::default();
        let n = rows.len() as f64;
        for (row, x) in rows.iter_mut().zip(observed) {
            let point = self.settings.point(own(sums, &Observed::new((&*row, x))));
            row.z0 = point.value;
            mean.raw += point.raw / n;
            mean.value += point.value / n;
            mean.clamped += point.clamped / n;
        }
        mean
    }
}

impl Settings {
    /// The point that a raw estimate gives.
    fn point(&self, raw: f64) -> Point {
        let below = self.clamp && raw < 0.0;
        Point {
            raw,
            value: if below { 0.0 } else { raw },
            clamped: f64::from(below),
        }
    }
}

/// What `ema` keeps of its mean at each step, unless said otherwise.
pub const DECAY: f64 = 0.9;
/// How many rows `ring_buffer` remembers, unless said otherwise.
pub const WINDOW: f64 = 256.0;

impl Observed {
    fn new((row, x): (&Row, &f64)) -> Observed {
        Observed {
            x: *x,
            label: row.label,
            group: row.group as usize,
        }
    }
}

impl PartialEq for Estimator {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.settings == other.settings
    }
}

impl core::fmt::Debug for Estimator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Estimator")
            .field("name", &self.name())
            .field("settings", &self.settings)
            .finish()
    }
}

/// Adds observations: sum and count.
fn observe(sums: &mut [f64], rows: &[Observed]) {
    for row in rows {
        sums[0] += row.x;
        sums[1] += 1.0;
    }
}

/// The mean of what [`observe`] added, 0 of nothing.
fn mean(sums: &[f64]) -> f64 {
    ratio(sums[0], sums[1])
}

/// sum / count, 0 of nothing.
fn ratio(sum: f64, count: f64) -> f64 {
    if count > 0.0 { sum / count } else { 0.0 }
}

/// Of estimators that share one point over their rows: the mean of the observations, clamped at 0.
const SHARED: Definition = Definition {
    name: "",
    meaning: "",
    source: Source::Mismatched,
    measure: Measure::LogRatio,
    clamp: true,
    width: |_| 2,
    accumulate: observe,
    finish: |sums, _, settings| settings.point(mean(sums)),
    own: None,
};
