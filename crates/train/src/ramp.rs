//! Parameters of a loss that change over the run: β that hardens, class weights that even out.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A parameter's way from its own value to another one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Its value from `end` on.
    pub to: f64,
    /// The way there.
    #[serde(default)]
    pub shape: RampShape,
    /// Where it begins, as a share of the run's steps.
    #[serde(default)]
    pub start: f64,
    /// Where it has arrived, as a share of the run's steps.
    #[serde(default = "one")]
    pub end: f64,
}

fn one() -> f64 {
    1.0
}

/// The way of a ramp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RampShape {
    /// Equal differences.
    #[default]
    Linear,
    /// Half a cosine: slow at both ends.
    Cosine,
    /// Equal ratios; both values must be positive.
    Geometric,
}

/// As the command line has it: `TO`, then optionally `:SHAPE`, `:START` and `:END`.
impl std::str::FromStr for Ramp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Ramp, Error> {
        let wrong = || {
            let message = format!(
                "{text:?} is not TO[:SHAPE[:START[:END]]], as in 0.5:cosine:0.1:0.9; shapes: linear, cosine, geometric"
            );
            Error::parameter(message)
        };
        let parts: Vec<&str> = text.split(':').collect();
        let number = |at: usize, default: &str| {
            let part = parts.get(at).unwrap_or(&default);
            part.parse::<f64>().map_err(|_| wrong())
        };
        let shape = match parts.get(1) {
            None | Some(&"linear") => RampShape::Linear,
            Some(&"cosine") => RampShape::Cosine,
            Some(&"geometric") => RampShape::Geometric,
            Some(_) => return Err(wrong()),
        };
        match parts.len() {
            1..=4 => Ok(Ramp {
                to: number(0, "")?,
                shape,
                start: number(2, "0")?,
                end: number(3, "1")?,
            }),
            _ => Err(wrong()),
        }
    }
}

impl Ramp {
    /// The value at step `step`, counted from 0, of `total`; `from` is the parameter's own.
    pub fn at(&self, from: f64, step: u64, total: u64) -> f64 {
        let done = step as f64 / total.saturating_sub(1).max(1) as f64;
        let share = ((done - self.start) / (self.end - self.start)).clamp(0.0, 1.0);
        match self.shape {
            // exact at both ends
            _ if share == 1.0 => self.to,
            RampShape::Linear => from + share * (self.to - from),
            RampShape::Cosine => {
                let eased = 0.5 * (1.0 - libm::cos(core::f64::consts::PI * share));
                from + eased * (self.to - from)
            }
            RampShape::Geometric => from * libm::pow(self.to / from, share),
        }
    }

    /// # Errors
    /// Places outside 0..=1 or out of order; a geometric way through 0.
    pub(crate) fn validate(&self, name: &str, from: f64) -> Result<(), Error> {
        let (start, end) = (self.start, self.end);
        if !(0.0 <= start && start < end && end <= 1.0) {
            let message = format!(
                "loss_schedule.{name}: start = {start} and end = {end} are not 0 <= start < end <= 1"
            );
            return Err(Error::parameter(message));
        }
        if self.shape == RampShape::Geometric && !(from > 0.0 && self.to > 0.0) {
            let to = self.to;
            let message = format!(
                "loss_schedule.{name}: a geometric way from {from} to {to} needs both above 0"
            );
            return Err(Error::parameter(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_begins_at_its_own_value_and_arrives() {
        for shape in [RampShape::Linear, RampShape::Cosine, RampShape::Geometric] {
            let ramp = Ramp {
                to: 0.4,
                shape,
                start: 0.25,
                end: 0.75,
            };
            let at = |step| ramp.at(0.1, step, 9);
            assert_eq!((at(0), at(2)), (0.1, 0.1));
            assert_eq!((at(6), at(8)), (0.4, 0.4));
            let middle = match shape {
                RampShape::Geometric => 0.2,
                _ => 0.25,
            };
            assert!((at(4) - middle).abs() < 1e-15, "{shape:?}: {}", at(4));
            assert!((0..8).all(|step| at(step) <= at(step + 1)));
        }
        let whole = Ramp {
            to: 2.0,
            shape: RampShape::Linear,
            start: 0.0,
            end: 1.0,
        };
        assert_eq!(whole.at(1.0, 0, 1), 1.0);
    }

    #[test]
    fn a_ramp_is_read_as_it_is_written() {
        let read = |text: &str| text.parse::<Ramp>();
        let ramp = read("0.5:cosine:0.1:0.9").unwrap();
        let expected = (0.5, RampShape::Cosine, 0.1, 0.9);
        assert_eq!((ramp.to, ramp.shape, ramp.start, ramp.end), expected);
        assert_eq!(read("2").unwrap().end, 1.0);
        for wrong in ["", "x", "1:round", "1:linear:x", "1:linear:0:1:2"] {
            assert!(
                read(wrong).unwrap_err().to_string().contains("TO[:SHAPE"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_ramp_that_cannot_be_is_refused() {
        let ramp = |shape, start, end, to| Ramp {
            to,
            shape,
            start,
            end,
        };
        for wrong in [
            ramp(RampShape::Linear, 0.5, 0.5, 1.0),
            ramp(RampShape::Linear, -0.1, 0.5, 1.0),
            ramp(RampShape::Linear, 0.0, 1.5, 1.0),
            ramp(RampShape::Geometric, 0.0, 1.0, 0.0),
        ] {
            let error = wrong.validate("beta", 0.1).unwrap_err().to_string();
            assert!(error.starts_with("loss_schedule.beta: "), "{error}");
        }
    }
}
