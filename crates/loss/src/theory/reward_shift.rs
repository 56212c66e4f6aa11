//! Rewards that differ by a function of the prompt, r(x, y) + h(x) (arXiv 2402.01306, theorem 4.2).
//!
//! They have the same optimal policy and the same Bradley-Terry probabilities, but rows look different to whom measures them
//! against one reference point. A loss of r_w − r_l cannot tell them apart. Rewards are shifted in nats, without β.

use alloc::vec::Vec;

use super::{larger, of_rows, plain};
use crate::error::Error;
use crate::evaluate::{Evaluation, Normalizer, evaluate};
use crate::example::{Batch, Label, Row};
use crate::loss::Loss;
use crate::spec::Need;

/// A loss before and after a shift.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Shifted {
    /// As the rows are.
    pub before: Evaluation,
    /// With the rewards of the group shifted, reference points as they were.
    pub after: Evaluation,
}

/// Whether a loss sees a shift.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Invariance {
    /// Whether values and slopes stay, up to rounding.
    pub invariant: bool,
    /// The largest change of a value or slope, over the largest of its kind.
    pub change: f64,
}

/// Larger relative changes are no rounding: margins are differences of sums of a few tens of nats.
pub const ROUNDING: f64 = 1e-12;

/// The rows with h = `by` nats added to the rewards of one group.
///
/// The reference moves and the policy does not, so that a likelihood beside the preference stays; a loss without a reference
/// makes its reward of ln π alone, which then moves. The log-ratio is formed first: shifting it, not its terms, keeps its digits.
pub fn shift(loss: &Loss, rows: &[Row], group: u32, by: f64) -> Vec<Row> {
    let moved = |row: &Row| match (row.group == group, loss.needs(Need::Reference)) {
        (false, _) => *row,
        (true, true) => {
            let log_ratio = row.logp - row.ref_logp;
            Row {
                ref_logp: row.logp - (log_ratio + by),
                ..*row
            }
        }
        (true, false) => Row {
            logp: row.logp + by,
            ..*row
        },
    };
    rows.iter().map(moved).collect()
}

/// Evaluates a loss before and after a shift of one group's rewards by `by` nats. Reference points stay: who wants them to
/// follow adds [`pooled`] to the rows' z₀ and evaluates again.
///
/// # Errors
/// As [`evaluate`].
pub fn compare(loss: &Loss, rows: &[Row], group: u32, by: f64) -> Result<Shifted, Error> {
    let norm = Normalizer::of(loss, rows);
    let after = shift(loss, rows, group, by);
    Ok(Shifted {
        before: evaluate(loss, Batch::from(rows), &norm)?,
        after: evaluate(loss, &after, &norm)?,
    })
}

/// By how much a reference point that is the mean over all rows moves: C·n_u / n, n_u of n rows being the prompt's.
pub fn pooled(rows: &[Row], group: u32, by: f64) -> f64 {
    let own = rows.iter().filter(|row| row.group == group).count();
    if own == 0 {
        0.0
    } else {
        by * own as f64 / rows.len() as f64
    }
}

/// Whether a loss is blind to shifts, tried on pairs of unequal lengths on either side of 0, one prompt shifted at a time: a shift
/// of all alike would also leave losses unmoved that compare rows of different prompts. Rows are compared with a reference point
/// that stays. `None` for a loss without an implied reward.
///
/// A change disproves it; none on the rows tried is strong evidence, no proof.
///
/// # Errors
/// As [`evaluate`].
pub fn invariance(loss: &Loss) -> Result<Option<Invariance>, Error> {
    let rows = probe();
    if of_rows(loss).is_err() || plain(loss, &rows)?.rewards.iter().all(|r| *r == 0.0) {
        return Ok(None);
    }
    let mut change = 0.0;
    for (group, by) in [(0, 1.0), (1, -2.5), (2, 17.0), (0, -17.0)] {
        let Shifted { before, after } = compare(loss, &rows, group, by)?;
        for (one, other) in [
            (&before.values, &after.values),
            (&before.dlogps, &after.dlogps),
        ] {
            let size = one
                .iter()
                .chain(other.iter())
                .fold(0.0, |a, b| larger(a, b.abs()));
            let moved = one
                .iter()
                .zip(other)
                .fold(0.0, |a, (x, y)| larger(a, (x - y).abs()));
            change = larger(change, if size > 0.0 { moved / size } else { 0.0 });
        }
    }
    Ok(Some(Invariance {
        invariant: change < ROUNDING,
        change,
    }))
}

/// Pairs of unequal lengths, each of a prompt of its own: learnt, near 0, wrong way round.
fn probe() -> Vec<Row> {
    let rows = [
        (-20.0, -22.0, 10),
        (-18.0, -17.0, 6),
        (-31.5, -30.0, 12),
        (-25.25, -27.5, 9),
        (-12.0, -12.25, 5),
        (-14.5, -14.5, 7),
    ];
    let row = |(index, (logp, ref_logp, tokens))| Row {
        group: index as u32 / 2,
        logp,
        ref_logp,
        tokens,
        label: if index % 2 == 0 {
            Label::Desirable
        } else {
            Label::Undesirable
        },
        z0: 0.3,
        ..Row::default()
    };
    rows.into_iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::reference_point::Estimator;

    #[test]
    fn pairs_are_blind_to_it_and_rows_are_not() {
        let invariance = |name| invariance(&Loss::new(name, &Params::new()).unwrap()).unwrap();
        assert!(invariance("dpo").unwrap().invariant);
        assert!(!invariance("kto").unwrap().invariant);
        assert_eq!(invariance("sft"), None, "no reward, nothing to shift");
        // sorted by margin, and sorted by reward across prompts
        for (name, blind) in [("aot", true), ("aot_unpaired", false)] {
            if crate::find(name).is_ok() {
                assert_eq!(invariance(name).unwrap().invariant, blind, "{name}");
            }
        }
    }

    #[test]
    fn a_pooled_reference_point_moves_by_the_prompts_share() {
        let loss = Loss::new("kto", &Params::new()).unwrap();
        let mut rows = probe();
        rows[0].group = 4;
        rows[3].group = 4;
        let estimator = Estimator::new("batch_mean").unwrap().clamp(false);
        let point = |rows: &[Row]| {
            let mut sums = estimator.sums(5);
            estimator.accumulate(&mut sums, rows, &estimator.observe(&rows.into()));
            estimator.finish(&sums, &mut Vec::new()).value
        };
        let moved = point(&shift(&loss, &rows, 4, 3.0)) - point(&rows);
        assert_eq!(pooled(&rows, 4, 3.0), 1.0);
        assert!((moved - 1.0).abs() < 1e-14, "{moved}");
        assert_eq!(pooled(&rows, 9, 3.0), 0.0);
    }

    #[test]
    fn a_shift_of_everything_that_the_reference_point_follows_changes_nothing() {
        let loss = Loss::new("kto", &Params::new()).unwrap();
        let mut rows = probe();
        rows.iter_mut().for_each(|row| row.group = 0);
        let Shifted { before, after } = compare(&loss, &rows, 0, 2.0).unwrap();
        // each row moves; over both labels the first order cancels
        assert!((before.values[0] - after.values[0]).abs() > 1e-2);
        let mut followed = shift(&loss, &rows, 0, 2.0);
        let by = pooled(&rows, 0, 2.0);
        followed.iter_mut().for_each(|row| row.z0 += by);
        let followed = evaluate(&loss, &followed, &Normalizer::of(&loss, &rows)).unwrap();
        assert!((followed.loss - before.loss).abs() < 1e-15);
    }
}
