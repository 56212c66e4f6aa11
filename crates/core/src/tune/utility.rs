//! How well log-ratios tell desirable completions from undesirable ones: without β, without weights.

use halo_loss::Label;
use halo_train::{Dataset, Unit};
use serde::Serialize;

use crate::{Error, Result};

/// A policy on held-out examples, by r = ln π − ln π_ref, sums over completions in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Utility {
    /// Of single completions the area under the ROC curve: how often a desirable one has a larger r than an undesirable one.
    /// Of pairs how often the chosen one has. Ties count half; 0.5 is chance, and the untrained policy.
    pub accuracy: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Mean r of the desirable (chosen) less that of the undesirable (rejected), nats.
    pub margin: f64,
    /// Mean |r|, nats: how far the policy moved from the reference.
    pub drift: f64,
}

/// # Errors
/// A class of which nothing is held out.
pub(super) fn check(held: &Dataset) -> Result<()> {
    for (label, name) in [
        (Label::Desirable, "desirable"),
        (Label::Undesirable, "undesirable"),
    ] {
        if !held.records.iter().any(|record| record.label == label) {
            return Err(Error::data(format!(
                "no {name} completion among the {} held out: give more data, a larger --held-out or another --seed",
                held.records.len()
            )));
        }
    }
    Ok(())
}

/// Of log-probabilities of each held-out record under policy and reference.
pub(super) fn measure(held: &Dataset, policy: &[f64], reference: &[f64]) -> Result<Utility> {
    let ratios: Vec<f64> = policy.iter().zip(reference).map(|(p, r)| p - r).collect();
    if ratios.is_empty() || ratios.len() != held.records.len() {
        return Err(Error::internal(
            "log-ratios are missing of held-out records",
        ));
    }
    let of = |label: Label| -> Vec<f64> {
        let rows = ratios.iter().zip(&held.records);
        rows.filter(|(_, record)| record.label == label)
            .map(|(ratio, _)| *ratio)
            .collect()
    };
    let (desirable, undesirable) = (of(Label::Desirable), of(Label::Undesirable));
    let pairs: Vec<f64> = held
        .units
        .iter()
        .filter_map(|unit| match *unit {
            Unit::Pair { chosen, rejected } => Some(ratios[chosen] - ratios[rejected]),
            Unit::Single(_) => None,
        })
        .collect();
    let (accuracy, standard_error) = if pairs.is_empty() {
        let area = area(&desirable, &undesirable);
        (
            area,
            error_of_area(area, desirable.len(), undesirable.len()),
        )
    } else {
        let won: f64 = pairs.iter().map(|margin| won(*margin)).sum();
        let share = won / pairs.len() as f64;
        // binomial
        (share, (share * (1.0 - share) / pairs.len() as f64).sqrt())
    };
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    Ok(Utility {
        accuracy,
        standard_error,
        margin: mean(&desirable) - mean(&undesirable),
        drift: ratios.iter().map(|ratio| ratio.abs()).sum::<f64>() / ratios.len() as f64,
    })
}

/// The area under the ROC curve: the share of (positive, negative) in which the positive is larger, ties half; NaN of an empty
/// side.
pub fn area(positive: &[f64], negative: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = positive.iter().map(|x| (*x, true)).collect();
    all.extend(negative.iter().map(|x| (*x, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Sorted, each positive beats the negatives before its run of equals and half of those in it.
    let (mut below, mut won) = (0.0, 0.0);
    for equals in all.chunk_by(|a, b| a.0 == b.0) {
        let positives = equals.iter().filter(|(_, positive)| *positive).count() as f64;
        let negatives = equals.len() as f64 - positives;
        won += positives * (below + negatives / 2.0);
        below += negatives;
    }
    won / (positive.len() as f64 * negative.len() as f64)
}

/// The standard error of such an area from these counts (Hanley and McNeil 1982, equation 1, with their exponential model for
/// Q₁ and Q₂).
pub fn error_of_area(area: f64, positive: usize, negative: usize) -> f64 {
    let (p, n) = (positive as f64, negative as f64);
    let square = area * area;
    let q1 = area / (2.0 - area);
    let q2 = 2.0 * square / (1.0 + area);
    let variance = area * (1.0 - area) + (p - 1.0) * (q1 - square) + (n - 1.0) * (q2 - square);
    (variance.max(0.0) / (p * n)).sqrt()
}

fn won(margin: f64) -> f64 {
    match margin.partial_cmp(&0.0) {
        Some(std::cmp::Ordering::Greater) => 1.0,
        Some(std::cmp::Ordering::Equal) => 0.5,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_comparisons_won() {
        // 3 beats 2, 1; 2 ties 2 and beats 1; 0 beats none: (2 + 1.5 + 0) / 6
        let area_of = area(&[3.0, 2.0, 0.0], &[2.0, 1.0]);
        assert!((area_of - 3.5 / 6.0).abs() < 1e-15);
        assert_eq!(area(&[1.0, 2.0], &[0.0]), 1.0);
        assert_eq!(area(&[0.0; 4], &[0.0; 3]), 0.5);
    }

    #[test]
    fn the_error_is_hanleys_and_mcneils() {
        // by hand: A = 0.75, 10 and 5: Q1 = 0.6, Q2 = 9/14; (0.1875 + 9·0.0375 + 4·(9/14 − 0.5625)) / 50
        let by_hand = ((0.1875 + 9.0 * 0.0375 + 4.0 * (9.0 / 14.0 - 0.5625)) / 50.0_f64).sqrt();
        assert!((error_of_area(0.75, 10, 5) - by_hand).abs() < 1e-15);
        assert!((by_hand - 0.130_110).abs() < 1e-6);
        // by hand: √(0.0010569)
        assert!((error_of_area(0.893, 51, 58) - 0.0325).abs() < 5e-4);
        assert_eq!(error_of_area(1.0, 10, 5), 0.0);
    }
}
