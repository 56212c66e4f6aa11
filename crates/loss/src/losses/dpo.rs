//! Direct preference optimisation: Rafailov et al. 2023, arXiv 2305.18290, equation 7.
//!
//! Sums over completion tokens. Label smoothing is a modifier; with its 0.2 this is `cdpo`.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, Spec};
use crate::value::Value;

pub(super) static SPEC: Spec = Spec {
    name: "dpo",
    title: "Direct preference optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1)],
    modifiers: modifiers::MARGIN,
    formula: "L = -ln sigmoid(beta * (r_w - r_l)),  r = ln pi(y|x) - ln pi_ref(y|x)",
    paper: "Rafailov et al., Direct Preference Optimization: Your Language Model is Secretly a Reward Model, 2023, eq. 7",
    arxiv: "2305.18290",
    when_to_use: "Clean pairs of a better and a worse answer to the same prompt. It never gives up on a pair, \
                  so contradictory or mislabelled pairs keep pulling; the reward of the chosen answer may fall \
                  as long as the margin grows.",
    implementations: "TRL: loss_type=sigmoid, the same formula and beta; averages micro-batch means, here the \
                      sum is divided by the optimiser step's pairs. HALOs: the same, rewards reported with beta.",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 3,
            reason: "every pair keeps pulling until it is ordered, so many clean comparisons are used to the full",
        },
        Fit {
            data: Trait::FineComparisons,
            stance: Stance::For,
            strength: 3,
            reason: "it compares the two answers of a prompt directly, and never gives up on a hard pair",
        },
        advice::HAS_PAIRS,
        Fit {
            data: Trait::Noisy,
            stance: Stance::Against,
            strength: 3,
            reason: "wrong or contradictory pairs never stop pulling, and can make it prefer the minority's answer",
        },
        Fit {
            data: Trait::Binary,
            stance: Stance::Against,
            strength: 3,
            reason: "it needs two answers to one prompt; single judgements would have to be matched into pairs",
        },
        Fit {
            data: Trait::ScarcePairs,
            stance: Stance::Against,
            strength: 1,
            reason: "few pairs are soon learnt by heart",
        },
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let beta = params.number("beta")?;
    Ok(Built::new(&SPEC, Kernel::pair(Dpo { beta })))
}

#[derive(Debug)]
pub(super) struct Dpo {
    pub(super) beta: f64,
}

impl Formula<2> for Dpo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio()); // of rewards
        -margin.log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.log_ratio() - rejected.log_ratio()).value
    }

    fn bounds(&self, tolerance: f64) -> Bounds {
        Bounds::of(Axis::Margin, Value::LogSigmoid, self.beta, tolerance)
    }
}
