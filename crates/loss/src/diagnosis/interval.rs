//! Shares with the interval that their count allows.

/// Of every interval here.
pub const CONFIDENCE: f64 = 0.95;

/// The normal quantile at (1 + [`CONFIDENCE`]) / 2.
const Z: f64 = 1.959963984540054;

/// Wilson's score interval (1927) of a share of `n > 0` things, `z` the normal quantile of its upper end: right also near 0 and 1,
/// where rounding may carry an end past them.
pub fn wilson(share: f64, n: f64, z: f64) -> (f64, f64) {
    let z2 = z * z / n;
    let middle = (share + z2 / 2.0) / (1.0 + z2);
    let half = z / (1.0 + z2) * libm::sqrt(share * (1.0 - share) / n + z2 / (4.0 * n));
    (middle - half, middle + half)
}

/// A share of counted things, with Wilson's score interval (1927).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// count / of.
    pub share: f64,
    /// Lower end at 95 %.
    pub low: f64,
    /// Upper end at 95 %.
    pub high: f64,
}

impl Share {
    /// `count` of `of`; `None` of nothing.
    pub fn new(count: u64, of: u64) -> Option<Share> {
        if of == 0 || count > of {
            return None;
        }
        let share = count as f64 / of as f64;
        let (low, high) = wilson(share, of as f64, Z);
        Some(Share {
            count,
            of,
            share,
            // the ends are exact where nothing, or everything, was counted
            low: if count == 0 { 0.0 } else { low },
            high: if count == of { 1.0 } else { high },
        })
    }
}

/// `15 of 148 (10.1 %, 95 % interval 6.2 to 16.1 %)`.
impl core::fmt::Display for Share {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{} of {} ({:.1} %, {:.0} % interval {:.1} to {:.1} %)",
            self.count,
            self.of,
            100.0 * self.share,
            100.0 * CONFIDENCE,
            100.0 * self.low,
            100.0 * self.high
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_the_published_one() {
        // Newcombe 1998, Statistics in Medicine 17, table I, method 3
        for (count, of, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let share = Share::new(count, of).unwrap();
            assert!((share.low - low).abs() < 5e-5, "{share}");
            assert!((share.high - high).abs() < 5e-5, "{share}");
        }
        assert_eq!(Share::new(10, 10).unwrap().high, 1.0);
        assert_eq!(Share::new(0, 0), None);
    }
}
