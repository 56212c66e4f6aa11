//! Anchored preference optimisation, zero: D'Oosterlinck et al. 2024, arXiv 2408.06266, equation 7.
//!
//! The chosen answer is to become likelier than under the reference, the rejected one less likely, each by itself: KTO's two halves at
//! z₀ = 0. Sums over completion tokens.

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};
use super::{Built, Formula, Kernel};

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
    when_to_use: "Pairs whose chosen answers are better than what the model says now.",
    implementations: "TRL: loss_type=apo_zero, the same.",
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
        // 1 - σ(x) without the cancellation
        (-(beta * chosen.log_ratio())).sigmoid() + (beta * rejected.log_ratio()).sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
