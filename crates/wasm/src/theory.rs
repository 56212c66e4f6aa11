//! The papers' settings as the page shows them: the reference point's clamp, preferences that contradict each other, class balance.

use halo_loss::theory::clamp;
use halo_loss::theory::contradictory::{Contradictory, Drift, cycle};
use halo_loss::theory::reward_shift;
use halo_loss::theory::tabular::Tabular;
use halo_loss::weighting::{self, TARGETS, Weights};
use halo_loss::{Error, Label, Loss, Row};

use crate::json::Json;

fn text(error: Error) -> String {
    error.to_string()
}

/// Means of `batch` normal numbers, `trials` times: the unclamped means, in the order in which they were drawn.
///
/// # Errors
/// A mean or deviation that is not finite; an empty batch.
pub fn means(
    mean: f64,
    deviation: f64,
    batch: u32,
    trials: u32,
    seed: u32,
) -> Result<Vec<f64>, String> {
    clamp::clamped(mean, deviation, u64::from(batch)).map_err(text)?;
    let mut draws = Draws::new(seed);
    let one = |_| {
        let sum: f64 = (0..batch).map(|_| mean + deviation * draws.normal()).sum();
        sum / f64::from(batch)
    };
    Ok((0..trials).map(one).collect())
}

/// The clamped mean in closed form: expected value, probability of 0.
///
/// # Errors
/// As [`means`].
pub fn clamped(mean: f64, deviation: f64, batch: u32) -> Result<Vec<f64>, String> {
    let clamped = clamp::clamped(mean, deviation, u64::from(batch)).map_err(text)?;
    Ok(vec![clamped.expected, clamped.zero])
}

/// Two outputs of which a share `majority` prefers a, as JSON: the margin loss's optimum, the drift of the unpaired one, its turn.
///
/// # Errors
/// Numbers that are no shares.
pub fn disagreement(
    majority: f64,
    reference: f64,
    beta: f64,
    desirable: f64,
    undesirable: f64,
) -> Result<String, String> {
    let setting = Contradictory::new(majority, reference).map_err(text)?;
    let weights = Weights {
        desirable,
        undesirable,
    };
    Ok(Json::object(|json| {
        json.number("optimum", setting.margin_optimum(beta));
        json.flag("minority", setting.margin_prefers_minority(beta));
        json.text(
            "drift",
            match setting.drift(weights) {
                Drift::Majority => "majority",
                Drift::Minority => "minority",
                Drift::None => "none",
            },
        );
        json.maybe("turning", setting.turning_weight());
    }))
}

/// π_ref(a) below which the margin loss's optimum prefers the minority, for each share p: 1 / (1 + (p/(1−p))^(1/β)).
pub fn boundary(shares: &[f64], beta: f64) -> Vec<f64> {
    let at = |p: &f64| {
        let odds = libm::log(*p) - libm::log1p(-p);
        1.0 / (1.0 + libm::exp(odds / beta))
    };
    shares.iter().map(at).collect()
}

/// π(a) after descent on the expected loss, or the whole policy over a cycle of three from a reference.
///
/// # Errors
/// Numbers that are no shares; a loss without an expectation over a policy.
pub fn descend(
    loss: &Loss,
    majority: f64,
    reference: &[f64],
    steps: u32,
) -> Result<Vec<f64>, String> {
    let (mut policy, preferences) = match reference {
        [a] => {
            let setting = Contradictory::new(majority, *a).map_err(text)?;
            (
                setting.policy().map_err(text)?,
                setting.preferences().to_vec(),
            )
        }
        all => (Tabular::new(all).map_err(text)?, cycle(all.len())),
    };
    let end = policy.descend(loss, &preferences, steps).map_err(text)?;
    Ok(end.probabilities)
}

/// Three prompts, each with a chosen and a rejected answer whose rewards are these, nats; h is added to the rewards of the first. Gives,
/// flat: the six |dL/dr| before, the six after, and the loss of the first prompt (of its pair, or of its chosen answer) before and after.
///
/// # Errors
/// A loss that reads more than rows or pairs.
pub fn shift(loss: &Loss, by: f64) -> Result<Vec<f64>, String> {
    let row = |(at, reward): (usize, f64)| Row {
        logp: -40.0,
        ref_logp: -40.0 - reward,
        tokens: 40,
        label: match at % 2 {
            0 => Label::Desirable,
            _ => Label::Undesirable,
        },
        group: (at / 2) as u32,
        ..Row::default()
    };
    let rows: Vec<Row> = REWARDS.into_iter().enumerate().map(row).collect();
    let shifted = reward_shift::compare(loss, &rows, 0, by).map_err(text)?;
    let mut out = Vec::new();
    for evaluation in [&shifted.before, &shifted.after] {
        // six answers, normalised by the units of their step
        let units = evaluation.values.len() as f64;
        out.extend(evaluation.dlogps.iter().map(|slope| slope.abs() * units));
    }
    out.extend([shifted.before.values[0], shifted.after.values[0]]);
    Ok(out)
}

/// Chosen and rejected of three prompts: ordered, about even, and the wrong way round.
pub const REWARDS: [f64; 6] = [6.0, -2.0, 1.0, 0.5, -4.0, 3.0];

/// ρ = λ_D n_D / (λ_U n_U), the paper's band, and the weights that reach a target, as JSON.
pub fn balance(
    desirable: u32,
    undesirable: u32,
    weight_d: f64,
    weight_u: f64,
    target: f64,
) -> String {
    let weights = Weights {
        desirable: weight_d,
        undesirable: weight_u,
    };
    let (n_d, n_u) = (u64::from(desirable), u64::from(undesirable));
    let mend = weighting::from_counts(n_d, n_u, target);
    Json::object(|json| {
        json.number("rho", weighting::balance(weights, n_d, n_u));
        json.numbers("band", [*TARGETS.start(), *TARGETS.end()]);
        json.flag(
            "inside",
            TARGETS.contains(&weighting::balance(weights, n_d, n_u)),
        );
        match &mend {
            Ok(weights) => json.numbers("mend", [weights.desirable, weights.undesirable]),
            Err(error) => json.text("why", &error.to_string()),
        }
    })
}

/// SplitMix64 (Steele et al. 2014), integers only, so that every machine draws the same.
struct Draws(u64);

impl Draws {
    fn new(seed: u32) -> Draws {
        Draws(u64::from(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Box and Muller's transform, one of its two numbers.
    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(2.0 * core::f64::consts::PI * self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halo_loss::Params;

    #[test]
    fn drawn_means_agree_with_the_closed_form() {
        for seed in 1..=5 {
            let (mean, deviation, batch, trials) = (-1.0, 2.0, 4, 20_000);
            let drawn = means(mean, deviation, batch, trials, seed).unwrap();
            let clamped: Vec<f64> = drawn
                .iter()
                .map(|z| if *z > 0.0 { *z } else { 0.0 })
                .collect();
            let n = f64::from(trials);
            let average = clamped.iter().sum::<f64>() / n;
            let variance = clamped
                .iter()
                .map(|z| (z - average) * (z - average))
                .sum::<f64>()
                / n;
            let expected = super::clamped(mean, deviation, batch).unwrap();
            assert!((average - expected[0]).abs() < 3.0 * libm::sqrt(variance / n));
            let zeros = clamped.iter().filter(|z| **z == 0.0).count() as f64 / n;
            let spread = libm::sqrt(expected[1] * (1.0 - expected[1]) / n);
            assert!((zeros - expected[1]).abs() < 3.0 * spread);
        }
    }

    #[test]
    fn a_margin_does_not_see_a_shift_and_a_reference_point_does() {
        let of = |name: &str| Loss::new(name, &Params::new()).unwrap();
        for by in [-30.0, 0.125, 17.0] {
            let dpo = shift(&of("dpo"), by).unwrap();
            assert_eq!(dpo[12], dpo[13], "not by one digit");
            let kto = shift(&of("kto"), by).unwrap();
            assert!(
                kto[0] != kto[6] && kto[2] == kto[8],
                "only the shifted prompt moves"
            );
        }
    }

    #[test]
    fn on_the_boundary_the_optimum_is_even() {
        for (p, at) in [0.55, 0.7, 0.9]
            .iter()
            .zip(boundary(&[0.55, 0.7, 0.9], 0.5))
        {
            let optimum = Contradictory::new(*p, at).unwrap().margin_optimum(0.5);
            assert!((optimum - 0.5).abs() < 1e-12);
        }
    }

    #[test]
    fn descent_goes_where_the_handbook_says() {
        let of = |name: &str, key: &str, value: f64| {
            Loss::new(name, &Params::new())
                .unwrap()
                .with(key, value)
                .unwrap()
        };
        let end = descend(&of("dpo", "beta", 1.0), 0.6, &[0.35], 20_000).unwrap();
        assert!((end[0] - 0.446809).abs() < 1e-4, "{end:?}");
        let end = |weight| {
            descend(
                &of("kto", "undesirable_weight", weight),
                0.6,
                &[0.01],
                20_000,
            )
        };
        assert!(end(1.5).unwrap()[0] > 0.9 && end(1.6).unwrap()[0] < 0.1);
    }
}
