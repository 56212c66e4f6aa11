//! Modifiers: what can be set on any loss that it fits. A new one is one file in `modifiers/` and one word in a set below.
//!
//! They act in three places. On the tokens, before they are summed (`humanline`, `ld_alpha`, `wpo`): `tokens.rs` in this
//! folder. On the rows of a unit, before the formula (`f_divergence`, `length_average`), and around the formula
//! (`label_smoothing`, `nll_weight`): a formula around a formula.

mod f_divergence;
mod humanline;
mod label_smoothing;
mod ld_alpha;
mod length_average;
mod nll_weight;
mod tokens;
mod wpo;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::losses::{Built, Formula, Kernel};
use crate::params::Params;
use crate::saturation::Bounds;
use crate::spec::{Need, ParamSpec};

pub(crate) use f_divergence::Divergence;
pub(crate) use tokens::{Prepared, TokenRules, spans};

/// Something that can be set on losses besides their own parameters.
#[derive(Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Modifier {
    /// Its name: that of its main parameter.
    pub name: &'static str,
    /// What it does and where it comes from, in a sentence.
    pub meaning: &'static str,
    /// Its parameters; the first is the one that switches it on.
    pub params: &'static [ParamSpec],
    /// What it needs when it is on.
    pub needs: &'static [Need],
}

/// Every modifier, in the order of help texts.
pub fn registry() -> &'static [&'static Modifier] {
    MARGIN
}

pub(crate) use f_divergence::MODIFIER as F_DIVERGENCE;
pub(crate) use humanline::MODIFIER as HUMANLINE;
pub(crate) use label_smoothing::MODIFIER as LABEL_SMOOTHING;
pub(crate) use ld_alpha::MODIFIER as LD_ALPHA;
pub(crate) use length_average::{MODIFIER as LENGTH_AVERAGE, PARAM as LENGTH_AVERAGE_PARAM};
pub(crate) use nll_weight::MODIFIER as NLL_WEIGHT;
pub(crate) use wpo::MODIFIER as WPO;

/// What fits a loss of r_w − r_l.
pub(crate) const MARGIN: &[&Modifier] = &[
    &F_DIVERGENCE,
    &LENGTH_AVERAGE,
    &LABEL_SMOOTHING,
    &NLL_WEIGHT,
    &LD_ALPHA,
    &WPO,
    &HUMANLINE,
];
/// The same for a loss with a label smoothing of its own.
pub(crate) const SMOOTHED_MARGIN: &[&Modifier] = &[
    &F_DIVERGENCE,
    &LENGTH_AVERAGE,
    &NLL_WEIGHT,
    &LD_ALPHA,
    &WPO,
    &HUMANLINE,
];
/// The same for a loss with a likelihood of its own, which does not become one of g(r) or of r / n.
pub(crate) const MARGIN_WITH_NLL: &[&Modifier] = &[&F_DIVERGENCE, &LABEL_SMOOTHING, &WPO];
/// The same for a loss that divides by lengths itself.
pub(crate) const MARGIN_OF_MEANS: &[&Modifier] = &[
    &F_DIVERGENCE,
    &LABEL_SMOOTHING,
    &NLL_WEIGHT,
    &LD_ALPHA,
    &WPO,
    &HUMANLINE,
];
/// What fits a loss whose pairs know each other: what moves a pair's rows or its weight would move the others' ranks.
pub(crate) const COUPLED: &[&Modifier] = &[&HUMANLINE];
/// What fits a loss of r_w and r_l one by one.
pub(crate) const PAIRED: &[&Modifier] = &[
    &LENGTH_AVERAGE,
    &LABEL_SMOOTHING,
    &NLL_WEIGHT,
    &LD_ALPHA,
    &WPO,
    &HUMANLINE,
];
/// The same for a loss with a reference point, whose nats are those of whole rows.
pub(crate) const PAIRED_AT_A_POINT: &[&Modifier] =
    &[&LABEL_SMOOTHING, &NLL_WEIGHT, &LD_ALPHA, &WPO, &HUMANLINE];
/// What fits a loss of single judged rows against a reference.
pub(crate) const UNPAIRED: &[&Modifier] = &[&LABEL_SMOOTHING, &NLL_WEIGHT, &HUMANLINE];
/// What fits a loss of pairs without a reference.
pub(crate) const REFERENCE_FREE: &[&Modifier] = &[&LABEL_SMOOTHING, &NLL_WEIGHT, &WPO];
/// The same for a loss with a likelihood of its own.
pub(crate) const REFERENCE_FREE_NLL: &[&Modifier] = &[&LABEL_SMOOTHING, &WPO];
/// The same for a loss with a likelihood and a label smoothing of its own.
pub(crate) const REFERENCE_FREE_SMOOTHED_NLL: &[&Modifier] = &[&WPO];
/// What fits a loss of numbers that are no log-probabilities of tokens.
pub(crate) const TOKENLESS: &[&Modifier] = &[&LABEL_SMOOTHING];
/// What fits a policy gradient.
pub(crate) const POLICY_GRADIENT: &[&Modifier] = &[&HUMANLINE];

/// Makes what the parameters switch on part of a loss. A modifier that the loss does not list has no parameters, and is off.
pub(crate) fn apply(
    modifiers: &[&'static Modifier],
    params: &Params,
    mut built: Built,
) -> Result<Built, Error> {
    let has = |modifier: &Modifier| modifiers.contains(&modifier);
    let number = |modifier: &Modifier, off: f64| match has(modifier) {
        true => params.number(modifier.name),
        false => Ok(off),
    };
    let flag = |modifier: &Modifier| match has(modifier) {
        true => params.flag(modifier.name),
        false => Ok(false),
    };
    let around = Around {
        divergence: match has(&F_DIVERGENCE) {
            true => Divergence::new(params)?,
            false => Divergence::ReverseKl,
        },
        length_average: flag(&LENGTH_AVERAGE)?,
        label_smoothing: number(&LABEL_SMOOTHING, 0.0)?,
        nll_weight: built.nll_weight + number(&NLL_WEIGHT, 0.0)?,
    };
    built.tokens = TokenRules {
        humanline: match flag(&HUMANLINE)? {
            true => Some(humanline::range(params)?),
            false => None,
        },
        ld_alpha: number(&LD_ALPHA, 1.0)?,
        wpo: match has(&WPO) {
            true => wpo::Wpo::new(params)?,
            false => wpo::Wpo::Off,
        },
    };
    let compared = |need| built.needs.contains(&need);
    if built.tokens.humanline.is_some() && !compared(Need::Reference) && !compared(Need::OldLogps) {
        let message =
            "humanline = true limits log-ratios, and with these parameters the loss has none";
        return Err(Error::parameter(HUMANLINE.name, message));
    }
    if around.nll_weight > 0.0 && built.tokens.per_token() {
        // one derivative a row cannot serve a likelihood of all tokens beside a preference of some
        let message = "nll_weight does not go with humanline or ld_alpha: add the likelihood as a term of its own, as in `LOSS + 0.5*sft`";
        return Err(Error::parameter(NLL_WEIGHT.name, message));
    }
    let on = [
        (around.length_average, &LENGTH_AVERAGE),
        (around.nll_weight > 0.0, &NLL_WEIGHT),
        (built.tokens.ld_alpha < 1.0, &LD_ALPHA),
        (built.tokens.wpo == wpo::Wpo::Exact, &WPO),
        (built.tokens.humanline.is_some(), &HUMANLINE),
    ];
    let mut needs: Vec<Need> = built.needs.clone();
    for (_, modifier) in on.into_iter().filter(|(on, _)| *on) {
        needs.extend(modifier.needs);
    }
    if built.tokens.wpo == wpo::Wpo::Plain {
        needs.push(Need::Lengths);
    }
    needs.sort_by_key(|need| *need as u8);
    needs.dedup();
    built.needs = needs;
    if around != Around::NOTHING {
        built.kernel = match built.kernel {
            Kernel::Row(inner) => Kernel::row(Modified { inner, around }),
            Kernel::Pair(inner) => Kernel::pair(Modified { inner, around }),
            token => token,
        };
    }
    Ok(built)
}

/// The settings of [`Modified`].
#[derive(Clone, Copy, Debug, PartialEq)]
struct Around {
    divergence: Divergence,
    length_average: bool,
    label_smoothing: f64,
    nll_weight: f64,
}

impl Around {
    const NOTHING: Around = Around {
        divergence: Divergence::ReverseKl,
        length_average: false,
        label_smoothing: 0.0,
        nll_weight: 0.0,
    };
}

/// A formula with modifiers around it.
#[derive(Debug)]
struct Modified<const N: usize> {
    inner: Arc<dyn Formula<N>>,
    around: Around,
}

impl<const N: usize> Modified<N> {
    /// The rows as the inner formula sees them.
    fn moved(&self, unit: &[Sequence<N>; N]) -> [Sequence<N>; N] {
        let mut unit = *unit;
        for row in &mut unit {
            // g(r) / n, as sigmoid_norm and IPO have it
            self.around.divergence.apply(row);
            if self.around.length_average {
                length_average::apply(row);
            }
        }
        unit
    }
}

impl<const N: usize> Formula<N> for Modified<N> {
    fn value(&self, unit: &[Sequence<N>; N]) -> Dual<N> {
        let moved = self.moved(unit);
        let mut value = self.inner.value(&moved);
        let share = self.around.label_smoothing;
        if share > 0.0 {
            let turned = self.inner.value(&label_smoothing::turned(&moved));
            value = (1.0 - share) * value + share * turned;
        }
        if self.around.nll_weight > 0.0 {
            value = value + self.around.nll_weight * nll_weight::term(unit);
        }
        value
    }

    /// A reward is β·r whatever the divergence; per token if r is.
    fn reward(&self, row: &Sequence<N>) -> f64 {
        let mut row = *row;
        if self.around.length_average {
            length_average::apply(&mut row);
        }
        self.inner.reward(&row)
    }

    fn progress(&self, unit: &[Sequence<N>; N]) -> f64 {
        self.inner.progress(&self.moved(unit))
    }

    /// A smoothed loss pulls back beyond its optimum: nothing of it is at rest. The others rest where the inner one does, with
    /// another slope.
    fn bounds(&self, tolerance: f64) -> Bounds {
        if self.around.label_smoothing > 0.0 {
            return Bounds::never();
        }
        let bounds = self.inner.bounds(tolerance);
        let same = self.around.divergence == Divergence::ReverseKl && self.around.nll_weight == 0.0;
        Bounds {
            max_slope: bounds.max_slope.filter(|_| same),
            ..bounds
        }
    }

    fn clipped(&self, unit: &[Sequence<N>; N]) -> bool {
        unit.iter().any(|row| self.around.divergence.caps(row))
            || self.inner.clipped(&self.moved(unit))
    }
}
