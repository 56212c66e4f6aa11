//! Identity preference optimisation: Azar et al. 2023, arXiv 2310.12036, equation 17.
//!
//! A regression of the margin onto 1/(2τ): the slope grows with the distance on both sides and is 0 only at the target, so there are
//! no bounds of zones. Log-ratios are means over completion tokens, as the authors confirmed (TRL#1265); OpenRLHF sums. HALOs divides
//! by the count of tokens whose log-ratio is not 0, which is 0/0 at the first step; here n divides.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{DataShape, Need, ParamSpec, Preset, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "ipo",
    title: "Identity preference optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Reference, Need::Lengths],
    params: &[
        ParamSpec::number(
            "tau",
            0.1,
            (1e-6, 1e4),
            "regularisation: the target margin is 1 / (2 tau)",
        ),
        ParamSpec::flag(
            "length_average",
            true,
            "log-ratios per token, as the authors have it; false: sums",
        ),
    ],
    modifiers: modifiers::MARGIN_OF_MEANS,
    presets: &[Preset {
        name: "openrlhf",
        values: &[("length_average", "false")],
    }],
    formula: "L = (r_w / n_w - r_l / n_l - 1 / (2 * tau))^2;  without length_average (r_w - r_l - 1 / (2 * tau))^2",
    paper: "Azar et al., A General Theoretical Paradigm to Understand Learning from Human Preferences, 2023, eq. 17",
    arxiv: "2310.12036",
    when_to_use: "Pairs with certain labels, where DPO would push margins without end: every pair has the same target, \
                  and overshooting costs as much as falling short.",
    implementations: "TRL: loss_type=ipo, the same, its beta is this tau. OpenRLHF: sums (compat=openrlhf). HALOs: \
                      means over tokens whose log-ratio is not 0. Rewards are reported as tau * r.",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 1,
            reason: "certain labels would push margins without end; here every pair has one target",
        },
        advice::NEEDS_PAIRS,
    ],
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Ipo {
        tau: params.number("tau")?,
        length_average: params.flag("length_average")?,
    };
    let per_token = formula.length_average;
    let built = Built::new(&SPEC, Kernel::pair(formula));
    Ok(match per_token {
        true => built,
        false => built.without(Need::Lengths),
    })
}

#[derive(Debug)]
struct Ipo {
    tau: f64,
    length_average: bool,
}

impl Formula<2> for Ipo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let tau = self.tau * chosen.beta_scale;
        let margin = match self.length_average {
            true => chosen.mean_log_ratio() - rejected.mean_log_ratio(),
            false => chosen.log_ratio() - rejected.log_ratio(),
        };
        (margin - 1.0 / (2.0 * tau)).square()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.tau * row.beta_scale * row.log_ratio().value
    }
}
