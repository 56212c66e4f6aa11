//! Whether a loss meets the paper's definition of a human-aware loss (arXiv 2402.01306, section 3).
//!
//! A loss is one if it is E[a·v(r(x, y) − E_Q[r(x, y′)])] + C with a ∈ {−1, +1}, an implied reward r = l(y)·ln π/π_ref, a reference
//! point that is the mean reward of other outputs, and a value function v that is non-decreasing everywhere and concave in (0, ∞).
//! Rows of each label may have a v of their own: KTO's class weights need that already. Of a pair, the rejected answer is the
//! whole of Q.
//!
//! The test is numerical: slopes on a grid, of completions of one token, where l(y) is 1. A condition that fails is disproved. One
//! that holds is necessary only: between the points of the grid, at other lengths, and in how an estimator makes z₀ (a clamp at 0
//! is no mean of rewards, strictly) a loss may still depart from the form. Losses are tried with a = −1 for desirable rows and
//! pairs and a = +1 for undesirable rows; the other signs would reward what is unwanted.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{larger, of_rows, plain, row};
use crate::error::Error;
use crate::example::{Label, Row};
use crate::loss::Loss;
use crate::spec::{DataShape, Need};

/// What the definition asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Requirement {
    /// The policy enters through ln π/π_ref alone.
    ImpliedReward,
    /// Rewards enter as differences from those of other outputs.
    ReferencePoint,
    /// v never decreases.
    NonDecreasing,
    /// v is concave in gains.
    ConcaveInGains,
}

/// One requirement, and what was found.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Condition {
    /// Which.
    pub requirement: Requirement,
    /// Whether it held wherever it was tried.
    pub holds: bool,
    /// What was found, in a sentence.
    pub reason: String,
}

/// Whether a loss is a HALO, as far as numbers can tell.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Verdict {
    /// Whether all requirements held; `None` where the loss cannot be tried.
    pub halo: Option<bool>,
    /// Why it cannot be tried, which says neither that it is one nor that it is none.
    pub untried: Option<String>,
    /// The requirements in order, up to the first that makes the next ones meaningless.
    pub conditions: Vec<Condition>,
}

/// Slopes that differ by less than this share of the steepest differ by rounding.
const ROUNDING: f64 = 1e-9;

/// Gains and losses z on the grid reach this far, nats; β·z then reaches past saturation for every β from 0.1 on.
const REACH: i32 = 400;

/// Tries the definition on a loss with its parameters.
///
/// # Errors
/// As [`crate::evaluate`].
pub fn verdict(loss: &Loss) -> Result<Verdict, Error> {
    if let Some(why) = untried(loss) {
        return Ok(Verdict {
            halo: None,
            untried: Some(why.into()),
            conditions: Vec::new(),
        });
    }
    let mut conditions = Vec::new();
    conditions.push(implied_reward(loss)?);
    if holds(&conditions) {
        conditions.push(reference_point(loss)?);
    }
    if holds(&conditions) {
        conditions.extend(value_function(loss)?);
    }
    Ok(Verdict {
        halo: Some(holds(&conditions)),
        untried: None,
        conditions,
    })
}

fn untried(loss: &Loss) -> Option<&'static str> {
    if of_rows(loss).is_err() {
        Some("it looks at tokens or at groups: slopes of a row or a pair are not all it does")
    } else if loss.couples() {
        Some(
            "it ranks the units of a step against each other: none has a value function of its own",
        )
    } else if loss.needs(Need::Scores) {
        Some("it reads scores of a reward head, not log-probabilities of a policy")
    } else {
        None
    }
}

fn holds(conditions: &[Condition]) -> bool {
    conditions.iter().all(|condition| condition.holds)
}

fn condition(requirement: Requirement, holds: bool, reason: impl ToString) -> Condition {
    Condition {
        requirement,
        holds,
        reason: reason.to_string(),
    }
}

/// ln π and ln π_ref that move together leave their ratio, and must leave the loss.
fn implied_reward(loss: &Loss) -> Result<Condition, Error> {
    let requirement = Requirement::ImpliedReward;
    if !loss.needs(Need::Reference) {
        let reason =
            "it reads no reference: the policy is rewarded for its likelihood, not for its change";
        return Ok(condition(requirement, false, reason));
    }
    let mut change = 0.0;
    for unit in probes(loss) {
        for index in 0..unit.len() {
            let mut moved = unit.clone();
            (moved[index].logp, moved[index].ref_logp) =
                (unit[index].logp - 3.0, unit[index].ref_logp - 3.0);
            change = larger(change, difference(loss, &unit, &moved)?);
        }
    }
    let holds = change < ROUNDING;
    let reason = match holds {
        true => "ln pi and ln pi_ref moved together change nothing".into(),
        false => format!(
            "ln pi and ln pi_ref moved together change it by {change:.2e} of its slope: it reads ln pi beside the reward"
        ),
    };
    Ok(condition(requirement, holds, reason))
}

/// All rewards of a unit that move together with the point they are compared with leave their differences.
fn reference_point(loss: &Loss) -> Result<Condition, Error> {
    let requirement = Requirement::ReferencePoint;
    let mut change = 0.0;
    // a z0 that nothing estimates stays 0
    let estimated = loss.needs(Need::ReferencePoint);
    let follows = |row: &Row| Row {
        logp: row.logp + 2.0,
        z0: row.z0 + if estimated { 2.0 } else { 0.0 },
        ..*row
    };
    for unit in probes(loss) {
        let moved: Vec<Row> = unit.iter().map(follows).collect();
        change = larger(change, difference(loss, &unit, &moved)?);
    }
    if change >= ROUNDING {
        let reason = "rewards count by themselves: moved together they change the loss, so nothing they are measured against is the mean reward of other outputs";
        return Ok(condition(requirement, false, reason));
    }
    if loss.data_shape() != DataShape::Paired {
        return Ok(condition(
            requirement,
            true,
            "a row's reward is measured against the estimated mean of others, z0",
        ));
    }
    let reason = match of_margin(loss)? {
        true => "the chosen answer's reward is measured against the rejected one's",
        false => "each row's reward is measured against the estimated mean of others, z0",
    };
    Ok(condition(requirement, true, reason))
}

/// Whether a paired loss sees r_w − r_l alone.
fn of_margin(loss: &Loss) -> Result<bool, Error> {
    let mut change = 0.0;
    for unit in probes(loss) {
        let moved = |row: &Row| Row {
            logp: row.logp + 2.0,
            ..*row
        };
        let moved: Vec<Row> = unit.iter().map(moved).collect();
        change = larger(change, difference(loss, &unit, &moved)?);
    }
    Ok(change < ROUNDING)
}

/// Where v falls, and where it bends up among gains.
fn value_function(loss: &Loss) -> Result<[Condition; 2], Error> {
    let paired = loss.data_shape() == DataShape::Paired;
    let kinds: &[Kind] = match paired && of_margin(loss)? {
        true => &[Kind::Margin],
        false => &[Kind::Row(Label::Desirable), Kind::Row(Label::Undesirable)],
    };
    let (mut falls, mut bends) = (None, None);
    for kind in kinds {
        let mut slopes = Vec::new();
        for z in grid() {
            slopes.push((z, kind.slope(loss, z)?));
        }
        let steepest = slopes
            .iter()
            .fold(0.0, |a, (_, slope)| larger(a, slope.abs()));
        let rounding = ROUNDING * steepest;
        let of = kind.words();
        let fall = slopes.iter().find(|(_, slope)| *slope < -rounding);
        falls = falls.or(fall.map(|(z, _)| format!("v of {of} falls at z = {z:.2} nats")));
        let mut gains = slopes.windows(2).filter(|two| two[0].0 > 0.0);
        let bend = gains.find(|two| two[1].1 > two[0].1 + rounding);
        bends = bends.or(bend.map(|two| format!("v of {of} bends up at z = {:.2} nats", two[1].0)));
    }
    let (rises, concave) = (falls.is_none(), bends.is_none());
    let within = |what: &str| format!("v {what} on a grid of |z| up to {REACH} nats");
    Ok([
        condition(
            Requirement::NonDecreasing,
            rises,
            falls.unwrap_or_else(|| within("never falls")),
        ),
        condition(
            Requirement::ConcaveInGains,
            concave,
            bends.unwrap_or_else(|| within("never bends up among gains")),
        ),
    ])
}

/// What has a value function of its own.
enum Kind {
    /// A pair, of which z is the margin.
    Margin,
    /// A row, alone or as the half of a pair that adds up its rows.
    Row(Label),
}

impl Kind {
    /// v′ at z: L = −v of a pair or a desirable row, +v of an undesirable row.
    fn slope(&self, loss: &Loss, z: f64) -> Result<f64, Error> {
        let (unit, at, sign) = match (self, loss.rows_per_unit()) {
            (Kind::Row(label), 1) => ([row(z, *label)].to_vec(), 0, -label.sign()),
            (Kind::Row(Label::Undesirable), _) => (super::pair(0.0, z).to_vec(), 1, 1.0),
            _ => (super::pair(z, 0.0).to_vec(), 0, -1.0),
        };
        Ok(sign * plain(loss, &unit)?.dlogps[at])
    }

    fn words(&self) -> &'static str {
        match self {
            Kind::Margin => "pairs",
            Kind::Row(Label::Desirable) => "desirable rows",
            Kind::Row(Label::Undesirable) => "undesirable rows",
        }
    }
}

/// Even steps far out, finer ones about 0, where value functions turn; in order.
fn grid() -> impl Iterator<Item = f64> {
    let far = |from: i32, to: i32| (from..to).map(f64::from);
    let near = (-300..300).map(|i| f64::from(i) * 0.01);
    far(-REACH, -3).chain(near).chain(far(3, REACH + 1))
}

/// Units on both sides of their reference points.
fn probes(loss: &Loss) -> Vec<Vec<Row>> {
    let logps = [-20.0, -12.0, -17.5, -31.0];
    let ratios = [2.0, -1.0, -9.0, 6.5];
    let with = |base: Row, at: usize| Row {
        logp: logps[at],
        ref_logp: logps[at] - ratios[at],
        z0: 0.3,
        ..base
    };
    let mut units = Vec::new();
    for at in 0..4 {
        match loss.rows_per_unit() {
            1 => units.extend(
                [Label::Desirable, Label::Undesirable]
                    .map(|label| [with(row(0.0, label), at)].to_vec()),
            ),
            _ => {
                let [chosen, rejected] = super::pair(0.0, 0.0);
                units.push([with(chosen, at), with(rejected, (at + 1) % 4)].to_vec());
            }
        }
    }
    units
}

/// The largest change of a value or slope, over the largest of them.
fn difference(loss: &Loss, one: &[Row], other: &[Row]) -> Result<f64, Error> {
    let (one, other) = (plain(loss, one)?, plain(loss, other)?);
    let mut change = 0.0;
    for (a, b) in [(&one.values, &other.values), (&one.dlogps, &other.dlogps)] {
        let size = a.iter().chain(b).fold(0.0, |size, x| larger(size, x.abs()));
        let moved = a
            .iter()
            .zip(b)
            .fold(0.0, |moved, (x, y)| larger(moved, (x - y).abs()));
        change = larger(change, if size > 0.0 { moved / size } else { 0.0 });
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    fn with(name: &str, settings: &[(&str, &str)]) -> Verdict {
        let mut params = Params::new();
        for (key, value) in settings {
            params.set(key, *value);
        }
        verdict(&Loss::new(name, &params).unwrap()).unwrap()
    }

    fn fails(verdict: &Verdict) -> Vec<Requirement> {
        let failed = verdict
            .conditions
            .iter()
            .filter(|condition| !condition.holds);
        failed.map(|condition| condition.requirement).collect()
    }

    #[test]
    fn kto_and_dpo_are_halos() {
        for settings in [
            &[][..],
            &[("desirable_weight", "1.3")],
            &[("value", "identity")],
            &[("value", "kahneman_tversky")],
        ] {
            let verdict = with("kto", settings);
            assert_eq!(verdict.halo, Some(true), "{settings:?} {verdict:#?}");
            assert_eq!(verdict.conditions.len(), 4);
        }
        assert_eq!(with("dpo", &[]).halo, Some(true));
        assert_eq!(with("dpo", &[("length_average", "true")]).halo, Some(true));
    }

    #[test]
    fn a_likelihood_is_none() {
        let sft = with("sft", &[("average", "sum")]);
        assert_eq!(
            (sft.halo, fails(&sft)),
            (Some(false), [Requirement::ImpliedReward].to_vec())
        );
    }

    #[test]
    fn no_loss_of_the_registry_gets_a_bare_verdict() {
        for spec in crate::registry() {
            let verdict = with(spec.name, &[]);
            assert_eq!(
                verdict.halo.is_none(),
                verdict.untried.is_some(),
                "{}",
                spec.name
            );
            assert_eq!(
                verdict.halo.is_none(),
                verdict.conditions.is_empty(),
                "{}",
                spec.name
            );
        }
        let of_tokens = with("dpo", &[("humanline", "true")]);
        assert!(of_tokens.untried.unwrap().contains("tokens"));
    }

    #[test]
    fn what_departs_from_the_form_is_named() {
        let rewarded = with("dpo", &[("nll_weight", "1")]);
        assert_eq!(fails(&rewarded), [Requirement::ImpliedReward]);
        let pulls_back = with("dpo", &[("label_smoothing", "0.2")]);
        assert_eq!(fails(&pulls_back), [Requirement::NonDecreasing]);
        // without z0 rewards stand alone
        let alone = with("kto", &[("reference_point", "zero")]);
        assert_eq!(fails(&alone), [Requirement::ReferencePoint]);
        // -ln σ(-z) of an undesirable row bends up: the concave ablation is concave in the row's own gains, not in the reward's
        let concave = with("kto", &[("value", "log_sigmoid")]);
        assert_eq!(fails(&concave), [Requirement::ConcaveInGains]);
    }
}
