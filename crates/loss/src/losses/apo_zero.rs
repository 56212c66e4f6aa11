//! Anchored preference optimisation, zero: D'Oosterlinck et al. 2024, arXiv 2408.06266, equation 7.
//!
//! The chosen answer becomes likelier than under the reference and the rejected one less likely, each by itself: KTO's two halves at
//! z₀ = 0. Sums over completion tokens. No bounds of zones: each side fades by itself, as kto's do, and a pair has one zone for both.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "apo_zero",
    title: "Anchored preference optimisation, zero",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1)],
    modifiers: modifiers::PAIRED,
    formula: "L = 1 - sigmoid(beta * r_w) + sigmoid(beta * r_l)",
    paper: "D'Oosterlinck et al., Anchored Preference Optimization and Contrastive Revisions, 2024, eq. 7",
    arxiv: "2408.06266",
    when_to_use: "Pairs whose chosen answers are better than what the model says by itself. apo_down is for the \
                  opposite.",
    implementations: "TRL: loss_type=apo_zero, the same formula and beta.",
    fits: &[
        Fit {
            data: Trait::Pairs,
            stance: Stance::For,
            strength: 1,
            reason: "both answers are used, each moved the right way by itself",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = ApoZero {
        beta: params.number("beta")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct ApoZero {
    beta: f64,
}

impl Formula<2> for ApoZero {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let (better, worse) = (beta * chosen.log_ratio(), beta * rejected.log_ratio()); // rewards
        // 1 - σ(x) without the cancellation
        (-better).sigmoid() + worse.sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
