//! What policy gradients share: the clipped ratio, the divergence from the reference, and the parameters of both.
//!
//! A ratio is ρ = exp(ln π − ln π_old) of a token or of a row, its exponent capped. The surrogate of Schulman et al. 2017
//! (arXiv 1707.06347) is P(ρ) = −min(ρ·A, clip(ρ)·A): no gain from moving further than the clip, no shelter from
//! a loss.

use crate::advantage::{self, Advantage};
use crate::dual::{Dual, EXPONENT_CAP};
use crate::error::Error;
use crate::example::{Row, Sequence, Token};
use crate::losses::{Built, Formula, Kernel, TokenFormula};
use crate::params::Params;
use crate::spec::{Need, ParamSpec, Spec};

/// How advantages are made, with another default.
pub(crate) const fn advantage(default: &'static str) -> ParamSpec {
    ParamSpec::choice(
        "advantage",
        default,
        advantage::NAMES,
        "how advantages are made of rewards: against the group's mean (group_std: in its standard deviations; leave_one_out: of the \
         others), the label's sign, or the reward itself",
    )
}

pub(crate) const fn clip_low(default: f64) -> ParamSpec {
    ParamSpec::number(
        "clip_low",
        default,
        (0.0, 1.0),
        "ratios are clipped to no less than 1 minus this",
    )
}

pub(crate) const fn clip_high(default: f64) -> ParamSpec {
    ParamSpec::number(
        "clip_high",
        default,
        (0.0, 1e3),
        "ratios are clipped to no more than 1 plus this",
    )
}

pub(crate) const KL_BETA: ParamSpec = ParamSpec::number(
    "kl_beta",
    0.0,
    (0.0, 1e3),
    "weight of the divergence from the reference (k3 per token); 0 needs no reference",
);

/// The ratios that still count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clip {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Clip {
    /// 1 − clip_low to 1 + clip_high.
    pub(crate) fn new(params: &Params) -> Result<Clip, Error> {
        Ok(Clip {
            low: 1.0 - params.number("clip_low")?,
            high: 1.0 + params.number("clip_high")?,
        })
    }

    /// P(ρ) = −min(ρ·A, clip(ρ)·A).
    pub(crate) fn surrogate(self, ratio: Dual<1>, advantage: f64) -> Dual<1> {
        let clipped = ratio.clamp(self.low, self.high);
        -(ratio * advantage).min(clipped * advantage)
    }

    /// Whether the surrogate is flat here: beyond the clip, on the side that the advantage asks for.
    pub(crate) fn cuts(self, ratio: f64, advantage: f64) -> bool {
        (advantage > 0.0 && ratio > self.high) || (advantage < 0.0 && ratio < self.low)
    }
}

/// ρ of a token against the policy that it was sampled from.
pub(crate) fn ratio(token: &Token) -> Dual<1> {
    (token.perceived - token.old_logp).exp_capped()
}

/// Schulman's k3 (<http://joschu.net/blog/kl-approx.html>): e^d − d − 1, d = ln π_ref − ln π; unbiased for KL(π ‖ π_ref)
/// and never negative.
pub(crate) fn k3(token: &Token) -> Dual<1> {
    let d = token.ref_logp - token.logp;
    if d.value > EXPONENT_CAP {
        return d.exp_capped() - d - 1.0;
    }
    // near d = 0 the three terms cancel
    let rise = libm::expm1(d.value);
    d.chain(rise - d.value, rise)
}

/// P of a token plus kl_beta · k3, summed over a row's tokens and multiplied by `share`: GRPO and its descendants.
#[derive(Debug)]
pub(crate) struct TokenSurrogate {
    clip: Clip,
    kl_beta: f64,
    share: TokenShare,
}

/// What a row's sum over tokens is multiplied by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TokenShare {
    /// 1: every token of the step weighs the same.
    Whole,
    /// 1 / n: every row does.
    Mean,
    /// 1 / a constant length.
    Of(f64),
}

impl TokenSurrogate {
    /// The loss with its advantages; the reference only where something pulls towards it.
    pub(crate) fn built(spec: &Spec, params: &Params, share: TokenShare) -> Result<Built, Error> {
        let surrogate = TokenSurrogate {
            clip: Clip::new(params)?,
            kl_beta: params.number("kl_beta")?,
            share,
        };
        let reference = surrogate.kl_beta > 0.0;
        built(spec, Kernel::token(surrogate), params, reference)
    }
}

impl TokenFormula for TokenSurrogate {
    fn value(&self, token: &Token) -> Dual<1> {
        let surrogate = self.clip.surrogate(ratio(token), token.advantage);
        match self.kl_beta > 0.0 {
            true => surrogate + self.kl_beta * k3(token),
            false => surrogate,
        }
    }

    fn scale(&self, row: &Row) -> f64 {
        match self.share {
            TokenShare::Whole => 1.0,
            TokenShare::Mean => 1.0 / f64::from(row.tokens),
            TokenShare::Of(length) => 1.0 / length,
        }
    }

    fn clipped(&self, token: &Token) -> bool {
        self.clip.cuts(ratio(token).value, token.advantage)
    }
}

/// P of a whole row, with one ratio for all its tokens.
#[derive(Debug)]
pub(crate) struct RowSurrogate {
    clip: Clip,
    /// The ratio is the geometric mean over tokens, not their product.
    mean: bool,
}

impl RowSurrogate {
    /// The loss with its advantages.
    pub(crate) fn built(spec: &Spec, params: &Params, mean: bool) -> Result<Built, Error> {
        let clip = Clip::new(params)?;
        built(
            spec,
            Kernel::row(RowSurrogate { clip, mean }),
            params,
            false,
        )
    }

    fn ratio(&self, row: &Sequence<1>) -> Dual<1> {
        let moved = row.logp - row.old_logp;
        match self.mean {
            true => (moved / row.tokens).exp_capped(),
            false => moved.exp_capped(),
        }
    }
}

impl Formula<1> for RowSurrogate {
    fn value(&self, [row]: &[Sequence<1>; 1]) -> Dual<1> {
        self.clip.surrogate(self.ratio(row), row.advantage)
    }

    fn clipped(&self, [row]: &[Sequence<1>; 1]) -> bool {
        self.clip.cuts(self.ratio(row).value, row.advantage)
    }
}

/// A policy gradient with the advantages that its parameter names; the reference only where something pulls towards it.
pub(crate) fn built(
    spec: &Spec,
    kernel: Kernel,
    params: &Params,
    reference: bool,
) -> Result<Built, Error> {
    let mut built = Built::new(spec, kernel);
    built.advantage = Some(Advantage::new(params.text("advantage")?)?);
    Ok(match reference {
        true => built,
        false => built.without(Need::Reference),
    })
}
