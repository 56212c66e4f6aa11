//! Odds ratio preference optimisation: Hong et al. 2024, arXiv 2403.07691.
//!
//! Means over completion tokens, no reference: the likelihood of the chosen answer plus λ times the log-odds ratio's. The
//! likelihood is the completion's, as HALOs `legacy` has it; TRL averages over prompt and completion. a is kept at or below
//! −1e-12 in the odds (ours): at a = 0 they are infinite.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{DataShape, Need, ParamSpec, Preset, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "orpo",
    title: "Odds ratio preference optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Lengths],
    params: &[ParamSpec::number(
        "odds_weight",
        0.1,
        (0.0, 1e6),
        "weight of the odds ratio beside the likelihood: the paper's lambda",
    )],
    modifiers: modifiers::REFERENCE_FREE_NLL,
    presets: &[Preset {
        name: "halos",
        values: &[("odds_weight", "0.25")],
    }],
    formula: "L = -a_w - odds_weight * ln sigmoid(o),  o = (a_w - a_l) - (ln(1 - exp a_w) - ln(1 - exp a_l)),  a = ln pi(y|x) / n",
    paper: "Hong et al., ORPO: Monolithic Preference Optimization without Reference Model, 2024",
    arxiv: "2403.07691",
    when_to_use: "Fine-tuning and preferences in one run, from a base model, on pairs whose chosen answers are worth imitating.",
    implementations: "TRL: beta is this odds_weight; its likelihood is the token mean over prompt and completion. HALOs legacy: odds_weight \
                      .25, the completion's likelihood, as here. Averages of micro-batch means there, the optimiser step's pairs here.",
    fits: &[
        Fit {
            data: Trait::Demonstrations,
            stance: Stance::For,
            strength: 1,
            reason: "it imitates while it compares, but it needs a worse answer beside each",
        },
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 1,
            reason: "it needs no fine-tuned start and no reference, but mostly imitates the chosen answer",
        },
        Fit {
            data: Trait::Noisy,
            stance: Stance::Against,
            strength: 3,
            reason: "it imitates the chosen answers of wrong pairs too",
        },
        advice::NEEDS_PAIRS,
    ],
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let odds_weight = params.number("odds_weight")?;
    Ok(Built::new(&SPEC, Kernel::pair(Orpo { odds_weight })))
}

/// Mean log-probabilities above this have no odds.
const CERTAIN: f64 = -1e-12;

#[derive(Debug)]
struct Orpo {
    odds_weight: f64,
}

impl Formula<2> for Orpo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let kept = |row: &Sequence<2>| row.mean_logp().clamp(f64::NEG_INFINITY, CERTAIN);
        let (w, l) = (kept(chosen), kept(rejected));
        let log_odds = (w - l) - (w.log1mexp() - l.log1mexp()); // ratio
        -chosen.mean_logp() - self.odds_weight * log_odds.log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.odds_weight * row.mean_logp().value
    }

    fn clipped(&self, unit: &[Sequence<2>; 2]) -> bool {
        unit.iter().any(|row| row.mean_logp().value > CERTAIN)
    }
}
