//! What length has to do with the labels: a loss learns "longer is better" first where the data says it.

use super::{Judged, Pair, Share};
use crate::example::Label;

/// Lengths within this share of the longer one count as nearly equal: below it a difference is a clause, not an answer.
pub const NEAR: f64 = 0.1;

/// Lengths and labels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lengths {
    /// Mean tokens of desirable rows.
    pub desirable: Option<f64>,
    /// Mean tokens of undesirable rows.
    pub undesirable: Option<f64>,
    /// Pairs whose longer completion was chosen, of those with a longer one.
    pub longer_wins: Option<Share>,
    /// Pairs whose lengths differ by at most [`NEAR`] of the longer.
    pub near_equal: Option<Share>,
    /// Point-biserial correlation of label and tokens over rows, −1 to 1: above 0 the desirable are longer. `None` where all
    /// labels or all lengths are equal.
    pub correlation: Option<f64>,
}

pub(super) fn measure(rows: &[Judged], pairs: &[Pair]) -> Lengths {
    let of = |label| {
        let (mut n, mut sum) = (0.0, 0.0);
        for row in rows.iter().filter(|row| row.label == label) {
            n += 1.0;
            sum += f64::from(row.tokens);
        }
        (n, sum)
    };
    let (n_d, sum_d) = of(Label::Desirable);
    let (n_u, sum_u) = of(Label::Undesirable);
    let mean = |n: f64, sum: f64| (n > 0.0).then(|| sum / n);
    let unequal = || pairs.iter().filter(|(w, l)| w.tokens != l.tokens);
    let longer = unequal().filter(|(w, l)| w.tokens > l.tokens).count();
    Lengths {
        desirable: mean(n_d, sum_d),
        undesirable: mean(n_u, sum_u),
        longer_wins: Share::new(longer as u64, unequal().count() as u64),
        near_equal: Share::new(
            pairs.iter().filter(|pair| near(pair)).count() as u64,
            pairs.len() as u64,
        ),
        correlation: correlation(rows, (n_d, sum_d), (n_u, sum_u)),
    }
}

fn near((chosen, rejected): &Pair) -> bool {
    let (w, l) = (f64::from(chosen.tokens), f64::from(rejected.tokens));
    let longer = if w > l { w } else { l };
    (w - l).abs() <= NEAR * longer
}

/// (M_D − M_U) / s · √(n_D n_U) / n, with s of the whole (divisor n): Pearson's with a label of 0 and 1.
fn correlation(rows: &[Judged], (n_d, sum_d): (f64, f64), (n_u, sum_u): (f64, f64)) -> Option<f64> {
    let n = n_d + n_u;
    if n_d == 0.0 || n_u == 0.0 {
        return None;
    }
    let mean = (sum_d + sum_u) / n;
    let square = |row: &Judged| (f64::from(row.tokens) - mean) * (f64::from(row.tokens) - mean);
    let deviation = libm::sqrt(rows.iter().map(square).sum::<f64>() / n);
    (deviation > 0.0).then(|| (sum_d / n_d - sum_u / n_u) / deviation * libm::sqrt(n_d * n_u) / n)
}
