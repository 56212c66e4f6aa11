//! What a clamp at 0 does to an estimated reference point.
//!
//! A mean of m observations k ~ N(μ, s²) is N(μ, q²) with q = s/√m. Clamped at 0 it is biased up, and often exactly 0: "KL is 0"
//! in a log is usually the clamp, not a divergence that vanished.

use alloc::format;

use crate::error::Error;

/// The clamped mean of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Clamped {
    /// E[max(0, mean)] = μΦ(μ/q) + qφ(μ/q).
    pub expected: f64,
    /// P(the clamp fires) = Φ(−μ/q).
    pub zero: f64,
}

/// The clamped mean of `batch` observations of a normal with this mean and standard deviation, nats.
///
/// # Errors
/// A mean that is not finite, a deviation that is negative or not finite, an empty batch.
pub fn clamped(mean: f64, deviation: f64, batch: u64) -> Result<Clamped, Error> {
    let refuse = |name, value: f64, allowed| {
        let message = format!("{name} = {value} is not {allowed}");
        Err(Error::parameter(name, message))
    };
    if !mean.is_finite() {
        return refuse("mean", mean, "finite");
    }
    if !(deviation >= 0.0 && deviation.is_finite()) {
        return refuse("deviation", deviation, "a finite number of at least 0");
    }
    if batch == 0 {
        return refuse("batch", 0.0, "at least 1");
    }
    let q = deviation / libm::sqrt(batch as f64);
    if q == 0.0 {
        let fires = mean <= 0.0;
        return Ok(Clamped {
            expected: if fires { 0.0 } else { mean },
            zero: f64::from(fires),
        });
    }
    let x = mean / q;
    let expected = mean * cumulative(x) + q * density(x);
    Ok(Clamped {
        // far below 0 the two terms cancel to less than their rounding
        expected: if expected > 0.0 { expected } else { 0.0 },
        zero: cumulative(-x),
    })
}

/// Φ, with its digits kept in the lower tail.
fn cumulative(x: f64) -> f64 {
    0.5 * libm::erfc(-x / core::f64::consts::SQRT_2)
}

/// φ.
fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / libm::sqrt(2.0 * core::f64::consts::PI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clamp_biases_up_and_larger_batches_less() {
        let mut last = f64::INFINITY;
        for batch in [1, 4, 32, 1024] {
            let clamped = clamped(0.1, 2.0, batch).unwrap();
            assert!(clamped.expected >= 0.1 && clamped.expected < last);
            last = clamped.expected;
        }
    }

    #[test]
    fn without_spread_it_is_the_clamp_itself() {
        let of = |mean| clamped(mean, 0.0, 3).unwrap();
        assert_eq!((of(0.5).expected, of(0.5).zero), (0.5, 0.0));
        assert_eq!((of(-0.5).expected, of(-0.5).zero), (0.0, 1.0));
        assert!(clamped(0.0, -1.0, 1).is_err() && clamped(0.0, 1.0, 0).is_err());
        assert!(clamped(f64::NAN, 1.0, 1).is_err());
    }
}
