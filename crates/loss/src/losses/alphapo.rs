//! AlphaPO: Gupta et al. 2025, arXiv 2501.03884: SimPO with another shape of the reward.
//!
//! R = (1 − e^(−αa)) / α of the mean log-probability a over completion tokens; α → 0 gives a and with it `simpo`. Written
//! with expm1, so that small α keep their digits; the exponent is capped at 80 and continued linearly (ours), or a hopeless
//! answer would overflow. γ is not scaled with β.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::{Dual, EXPONENT_CAP};
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, ParamSpec, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "alphapo",
    title: "Preference optimisation with a shaped reward",
    shape: DataShape::Paired,
    needs: &[Need::Lengths],
    params: &[
        spec::beta(2.5),
        ParamSpec::number(
            "alpha",
            0.25,
            (-10.0, 10.0),
            "shape of the reward: 0 is the mean log-probability itself, larger punishes unlikely answers more",
        ),
        ParamSpec::number("gamma", 0.1, (0.0, 1e3), "the target margin of rewards"),
    ],
    modifiers: modifiers::REFERENCE_FREE,
    formula: "L = -ln sigmoid(beta * (R_w - R_l) - gamma),  R = (1 - exp(-alpha * a)) / alpha,  a = ln pi(y|x) / n",
    paper: "Gupta et al., AlphaPO: Reward Shape Matters for LLM Alignment, 2025",
    arxiv: "2501.03884",
    when_to_use: "Where simpo lowers the likelihood of both answers: the shape of the reward decides how much a pair may gain by that.",
    implementations: "TRL: loss_type=alphapo of its CPO trainer with simpo_gamma, no cap on the exponent. HALOs has none. Averages of \
                      micro-batch means there, the optimiser step's pairs here.",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 1,
            reason: "as SimPO, with one more number to tune",
        },
        Fit {
            data: Trait::Noisy,
            stance: Stance::Against,
            strength: 3,
            reason: "wrong pairs never stop pulling, and no reference holds back",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let alphapo = AlphaPo {
        beta: params.number("beta")?,
        alpha: params.number("alpha")?,
        gamma: params.number("gamma")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(alphapo)))
}

#[derive(Debug)]
struct AlphaPo {
    beta: f64,
    alpha: f64,
    gamma: f64,
}

impl AlphaPo {
    /// R of a row, without β.
    fn shaped(&self, row: &Sequence<2>) -> Dual<2> {
        let mean = row.mean_logp();
        let exponent = -self.alpha * mean;
        if self.alpha == 0.0 {
            mean
        } else if exponent.value > EXPONENT_CAP {
            -(exponent.exp_capped() - 1.0) / self.alpha
        } else {
            -exponent.exp_m1() / self.alpha
        }
    }
}

impl Formula<2> for AlphaPo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (self.shaped(chosen) - self.shaped(rejected)); // of rewards
        -(margin - self.gamma).log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * self.shaped(row).value
    }

    fn clipped(&self, unit: &[Sequence<2>; 2]) -> bool {
        let capped = |row: &Sequence<2>| -self.alpha * row.mean_logp().value > EXPONENT_CAP;
        unit.iter().any(capped)
    }
}
