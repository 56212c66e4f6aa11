//! Reference points z₀, in nats and without β: what a gain or a loss is measured against.
//!
//! An estimator turns rows into sums that add up across micro-batches and ranks, and the sums into a point.
//! A point is never differentiated. A new estimator is one file in `reference_point/` and one word below.

use crate::error::Error;
use crate::example::Row;

/// `name` stands for `reference_point/name.rs`, which holds `ESTIMATOR`.
macro_rules! estimators {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*
        const DEFINITIONS: &[&Definition] = &[$(&$name::ESTIMATOR),*];
        /// The words for them.
        pub const NAMES: &[&str] = &[$($name::ESTIMATOR.name),*];
    };
}

estimators![mismatch, batch_mean, zero, uniform];

/// Sums over rows; entries of micro-batches and ranks add up.
pub type Sums = [f64; 4];

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
    /// Prompts with the completion of another prompt.
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

/// A reference point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Point {
    /// The estimate before any clamp, nats.
    pub raw: f64,
    /// What the loss uses, nats.
    pub value: f64,
    /// Whether the clamp changed it.
    pub clamped: bool,
}

impl Point {
    fn unclamped(raw: f64) -> Point {
        Point {
            raw,
            value: raw,
            clamped: false,
        }
    }

    /// A divergence is not negative: an estimate below 0 counts as 0.
    fn at_least_zero(raw: f64) -> Point {
        if raw < 0.0 {
            Point {
                raw,
                value: 0.0,
                clamped: true,
            }
        } else {
            Point::unclamped(raw)
        }
    }
}

pub(crate) struct Definition {
    name: &'static str,
    meaning: &'static str,
    source: Source,
    accumulate: fn(&mut Sums, Measure, &Row),
    finish: fn(&Sums) -> Point,
}

/// How a row is measured: by sums over its tokens, or by means.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measure {
    length_average: bool,
}

impl Measure {
    /// ln π, nats or nats per token.
    fn logp(self, row: &Row) -> f64 {
        self.per_token(row.logp, row)
    }

    /// ln π − ln π_ref, nats or nats per token.
    fn log_ratio(self, row: &Row) -> f64 {
        self.per_token(row.logp - row.ref_logp, row)
    }

    fn per_token(self, sum: f64, row: &Row) -> f64 {
        if self.length_average {
            sum / f64::from(row.tokens)
        } else {
            sum
        }
    }
}

/// An estimator of the reference point, by name.
#[derive(Clone, Copy)]
pub struct Estimator {
    definition: &'static Definition,
    measure: Measure,
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
        Ok(Estimator {
            definition,
            measure: Measure {
                length_average: false,
            },
        })
    }

    /// The same, measuring rows per token.
    pub fn length_average(mut self, length_average: bool) -> Estimator {
        self.measure.length_average = length_average;
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

    /// Adds rows to the sums.
    pub fn accumulate(&self, sums: &mut Sums, rows: &[Row]) {
        for row in rows {
            (self.definition.accumulate)(sums, self.measure, row);
        }
    }

    /// The point that the sums of the whole scope give; 0 of no rows.
    pub fn finish(&self, sums: &Sums) -> Point {
        (self.definition.finish)(sums)
    }
}

impl PartialEq for Estimator {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.measure == other.measure
    }
}

impl core::fmt::Debug for Estimator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Estimator")
            .field("name", &self.name())
            .field("measure", &self.measure)
            .finish()
    }
}

/// Adds an observation: sum and count.
fn observe(sums: &mut Sums, x: f64) {
    sums[0] += x;
    sums[1] += 1.0;
}

/// The mean of the observations, 0 of none.
fn mean(sums: &Sums) -> f64 {
    if sums[1] > 0.0 {
        sums[0] / sums[1]
    } else {
        0.0
    }
}
