//! Binary classifier optimisation on pairs: Jung et al. 2024, arXiv 2404.04656: the sum of `bco` over both answers.
//!
//! Sums over completion tokens. z₀ is the running mean of r over all rows of all pairs, updated with the step before use. TRL dropped the
//! shift from its `bco_pair`: z₀ = 0. No bounds of zones: each side fades by itself, and a pair has one zone for both.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::reference_point::{Estimator, Source};
use crate::spec::{self, DataShape, Need, ParamSpec, Preset, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "bco_pair",
    title: "Binary classifier optimisation of pairs",
    shape: DataShape::Paired,
    needs: &[Need::Reference, Need::ReferencePoint],
    params: &[
        spec::beta(0.1),
        ParamSpec::choice(
            "reference_point",
            "running_mean",
            &["running_mean", "zero"],
            "how the shift z0 is estimated: the mean log-ratio of all rows so far; zero leaves it out",
        ),
    ],
    modifiers: modifiers::PAIRED_AT_A_POINT,
    presets: &[Preset {
        name: "trl",
        values: &[("reference_point", "zero")],
    }],
    formula: "L = -ln sigmoid(beta * (r_w - z0_w)) - ln sigmoid(-beta * (r_l - z0_l))",
    paper: "Jung et al., Binary Classifier Optimization for Large Language Model Alignment, 2024",
    arxiv: "2404.04656",
    when_to_use: "Pairs of which each answer should be right by itself, not only better or worse than the other; a \
                  drift of all rewards does not count.",
    implementations: "TRL: loss_type=bco_pair, the same formula and beta without the shift (compat=trl); its BCO \
                      trainer, since removed, had the running mean.",
    fits: &[
        Fit {
            data: Trait::Pairs,
            stance: Stance::For,
            strength: 1,
            reason: "both answers are used, each judged by itself against a common shift",
        },
        advice::NEEDS_PAIRS,
    ],
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = BcoPair {
        beta: params.number("beta")?,
    };
    let estimator = Estimator::new(params.text("reference_point")?)?;
    let mut built = Built::new(&SPEC, Kernel::pair(formula));
    built.reference_point = Some(estimator);
    Ok(match estimator.source() {
        Source::None => built.without(Need::ReferencePoint),
        _ => built,
    })
}

#[derive(Debug)]
struct BcoPair {
    beta: f64,
}

impl Formula<2> for BcoPair {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let better = beta * (chosen.log_ratio() - chosen.z0);
        let worse = beta * (rejected.log_ratio() - rejected.z0);
        -better.log_sigmoid() - (-worse).log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
