//! Clipped importance sampling policy optimisation: MiniMax 2025, arXiv 2506.13585.
//!
//! The ratio is a weight of the log-likelihood's gradient, never differentiated and capped from above only, so that every
//! token keeps a gradient. The cap is that of Khatri et al. 2025 (arXiv 2510.13786): the largest weight itself, not 1 + ε.
//! Mean over all tokens of the optimiser step. No humanline: which gradient a clamped ratio leaves to a weighted likelihood
//! is open.

use super::{Built, Denominator, Kernel, TokenFormula};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Token;
use crate::params::Params;
use crate::policy_gradient::{self, ratio};
use crate::spec::{DataShape, Need, ParamSpec, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "cispo",
    title: "Clipped importance sampling policy optimisation",
    shape: DataShape::Grouped,
    needs: &[Need::TokenLogps, Need::OldLogps, Need::Advantages, Need::Lengths],
    params: &[
        policy_gradient::advantage("group_std"),
        ParamSpec::number(
            "cap",
            5.0,
            (1e-3, 1e6),
            "the largest weight of a token: its ratio, or this",
        ),
    ],
    formula: "L = sum over rows and tokens of -min(rho, cap) * A * ln pi / tokens of the step,  rho = pi / pi_old, not \
                  differentiated",
    paper: "MiniMax, MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention, 2025",
    arxiv: "2506.13585",
    when_to_use: "As dapo where rare tokens that turn an answer, such as a change of mind, must not lose their gradient to the \
                  clip.",
    implementations: "TRL: loss_type=cispo with epsilon_high as the cap, 5 advised, normalised by the global batch's tokens as here. \
                  HALOs has none.",
    fits: &[
        Fit {
            data: Trait::Rewards,
            stance: Stance::For,
            strength: 2,
            reason: "it compares the answers of a prompt by their rewards, and no token loses its gradient; nothing else limits a step",
        },
        advice::FORGETS_COMPARISONS,
        advice::NEEDS_REWARDS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let cap = params.number("cap")?;
    let mut built = policy_gradient::built(&SPEC, Kernel::token(Cispo { cap }), params, false)?;
    built.denominator = Denominator::Tokens;
    Ok(built)
}

#[derive(Debug)]
struct Cispo {
    cap: f64,
}

impl TokenFormula for Cispo {
    fn value(&self, token: &Token) -> Dual<1> {
        let rho = ratio(token).value;
        let weight = if rho > self.cap { self.cap } else { rho };
        -(weight * token.advantage) * token.logp
    }

    /// The cap keeps the gradient: these are the tokens whose weight it changes.
    fn clipped(&self, token: &Token) -> bool {
        ratio(token).value > self.cap
    }
}
