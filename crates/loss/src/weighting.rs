//! Class weights λ_D and λ_U for imbalanced feedback.

use alloc::format;

use crate::error::Error;

/// The balances the KTO paper recommends (equation 9 of the later text; the early text ends at 4/3).
pub const TARGETS: core::ops::RangeInclusive<f64> = 1.0..=1.5;

/// Weights of the two classes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Weights {
    /// λ_D.
    pub desirable: f64,
    /// λ_U.
    pub undesirable: f64,
}

/// Both 1: every row counts the same.
impl Default for Weights {
    fn default() -> Self {
        Weights {
            desirable: 1.0,
            undesirable: 1.0,
        }
    }
}

/// Weights from the class ratio: the rarer class is raised so that λ_D·n_D / (λ_U·n_U) is `target`, the other
/// keeps weight 1.
///
/// # Errors
/// A target outside 1..=1.5; a class without rows, for which no weight balances anything.
pub fn from_counts(n_desirable: u64, n_undesirable: u64, target: f64) -> Result<Weights, Error> {
    if !TARGETS.contains(&target) {
        let (low, high) = (TARGETS.start(), TARGETS.end());
        return Err(Error::parameter(
            "target",
            format!("target = {target} is outside {low}..={high}"),
        ));
    }
    let (n_d, n_u) = (n_desirable as f64, n_undesirable as f64);
    if n_desirable == 0 || n_undesirable == 0 {
        let (missing, present, n) = if n_desirable == 0 {
            ("desirable", "undesirable", n_undesirable)
        } else {
            ("undesirable", "desirable", n_desirable)
        };
        let message = format!(
            "no {missing} rows beside {n} {present} ones: class weights cannot be derived from the ratio; \
             add {missing} rows or set the weights yourself"
        );
        return Err(Error::data(missing, message));
    }
    Ok(match n_desirable <= n_undesirable {
        true => Weights {
            desirable: target * n_u / n_d,
            undesirable: 1.0,
        },
        false => Weights {
            desirable: 1.0,
            undesirable: n_d / (target * n_u),
        },
    })
}

/// λ_D·n_D / (λ_U·n_U): 1 where both classes weigh the same in all; infinite or NaN where a side weighs nothing.
pub fn balance(weights: Weights, n_desirable: u64, n_undesirable: u64) -> f64 {
    (weights.desirable * n_desirable as f64) / (weights.undesirable * n_undesirable as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn derived_weights_reach_the_target() {
        for (n_d, n_u) in [(1, 1), (1, 9), (9, 1), (17, 19), (1000, 3), (3, 1000)] {
            for target in [1.0, 1.25, 4.0 / 3.0, 1.5] {
                let weights = from_counts(n_d, n_u, target).unwrap();
                assert!(
                    (balance(weights, n_d, n_u) / target - 1.0).abs() < 1e-15,
                    "{n_d}:{n_u} at {target}"
                );
                assert!(weights.desirable == 1.0 || weights.undesirable == 1.0);
            }
        }
    }

    #[test]
    fn an_empty_class_is_explained() {
        let error = from_counts(0, 12, 1.0).unwrap_err();
        assert!(error.is_data());
        assert_eq!(
            error.to_string(),
            "no desirable rows beside 12 undesirable ones: class weights cannot be derived from the ratio; add \
             desirable rows or set the weights yourself"
        );
        assert!(
            from_counts(12, 0, 1.0)
                .unwrap_err()
                .to_string()
                .starts_with("no undesirable rows beside 12 desirable")
        );
        assert!(from_counts(0, 0, 1.0).unwrap_err().is_data());
    }

    #[test]
    fn a_target_outside_the_papers_range_is_refused_with_the_range() {
        for target in [0.99, 1.51, f64::NAN, f64::INFINITY, -1.0] {
            let error = from_counts(1, 1, target).unwrap_err();
            assert!(error.is_parameter());
            assert!(error.to_string().ends_with("is outside 1..=1.5"), "{error}");
        }
    }
}
