//! Anchored preference optimisation, down: D'Oosterlinck et al. 2024, arXiv 2408.06266, equation 8.
//!
//! Both answers become less likely, the rejected one more so. Sums over completion tokens. No bounds of zones: the chosen answer's slope
//! β(σ′(βr_w) − σ′(βΔ)) can have either sign, and 0 there is not rest.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "apo_down",
    title: "Anchored preference optimisation, down",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1)],
    modifiers: modifiers::PAIRED,
    formula: "L = sigmoid(beta * r_w) + 1 - sigmoid(beta * (r_w - r_l))",
    paper: "D'Oosterlinck et al., Anchored Preference Optimization and Contrastive Revisions, 2024, eq. 8",
    arxiv: "2408.06266",
    when_to_use: "Pairs of which even the chosen answers are worse than what the model says by itself. apo_zero is for \
                  the opposite.",
    implementations: "TRL: loss_type=apo_down, the same formula and beta.",
    fits: &[
        Fit {
            data: Trait::Pairs,
            stance: Stance::For,
            strength: 1,
            reason: "it learns from the difference even where both answers are worse than the model's own",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = ApoDown {
        beta: params.number("beta")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct ApoDown {
    beta: f64,
}

impl Formula<2> for ApoDown {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let better = beta * chosen.log_ratio();
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio());
        // 1 - σ(x) without the cancellation
        better.sigmoid() + (-margin).sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
