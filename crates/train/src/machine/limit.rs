//! What a backward pass in single precision can carry.

use halo_loss::Evaluation;

/// The largest |dL/dlogp| that is handed out. No loss gets here but where an exponential or a square ran away (a log-ratio of
/// −10⁴ under a divergence that is exponential in it): in f32 the passes behind it would overflow, and a gradient of NaN is no
/// gradient. What is limited counts as clipped.
const LARGEST: f64 = 1e12;

/// Limits the slopes of some rows, one by one: how a step is cut makes no difference.
pub(super) fn limit(evaluation: &mut Evaluation) {
    let rows = evaluation.dlogps.len();
    let units = evaluation.values.len().max(1);
    let limited = |slopes: &mut [f64]| {
        let large = slopes.iter_mut().filter(|slope| slope.abs() > LARGEST);
        large.map(|slope| *slope = LARGEST.copysign(*slope)).count()
    };
    let of_units = evaluation.dlogps.chunks_mut((rows / units).max(1));
    let limited_units = of_units.map(limited).filter(|count| *count > 0).count();
    let limited_tokens = limited(&mut evaluation.token_dlogps);
    let count = match evaluation.per_token {
        true => limited_tokens,
        // slopes of a loss of units that a modifier spread over tokens
        false => limited_units.max(usize::from(limited_tokens > 0)),
    };
    evaluation.clipped = evaluation.clipped.max(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ran_away_is_limited_and_it_is_counted() {
        let mut evaluation = Evaluation {
            dlogps: vec![1e69, -0.5, 0.25, 1e11, -1e34, 1e34],
            values: vec![0.0; 3],
            clipped: 1,
            ..Evaluation::default()
        };
        limit(&mut evaluation);
        assert_eq!(evaluation.dlogps, [1e12, -0.5, 0.25, 1e11, -1e12, 1e12]);
        assert_eq!(evaluation.clipped, 2);
        let before = Evaluation {
            token_dlogps: vec![1.0, -2.0],
            per_token: true,
            ..Evaluation::default()
        };
        let mut after = before.clone();
        limit(&mut after);
        assert_eq!(after, before);
    }
}
