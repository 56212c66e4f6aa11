//! Noise contrastive alignment, pairwise: Chen et al. 2024, arXiv 2402.05369.
//!
//! Each answer is told from noise by itself: the chosen reward has an optimum of its own, r_w = ln 2 / β, so it cannot fall as under DPO.
//! Sums over completion tokens. No bounds of zones: the chosen slope is up to β and turns at its optimum, the rejected one up to β/2
//! and fades below −ln((1−tol)/tol)/β. The paper uses β = 0.01.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "nca",
    title: "Noise contrastive alignment",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1)],
    modifiers: modifiers::PAIRED,
    formula: "L = -ln sigmoid(beta * r_w) - 1/2 * ln sigmoid(-beta * r_w) - 1/2 * ln sigmoid(-beta * r_l)",
    paper: "Chen et al., Noise Contrastive Alignment of Language Models with Explicit Rewards, 2024",
    arxiv: "2402.05369",
    when_to_use: "Pairs, where the likelihood of the chosen answers must not fall as margins grow.",
    implementations: "TRL: loss_type=nca_pair, the same formula and beta; the paper has 0.01.",
    fits: &[
        Fit {
            data: Trait::Pairs,
            stance: Stance::For,
            strength: 1,
            reason: "both answers are used, and the chosen one cannot fall while the margin grows",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Nca {
        beta: params.number("beta")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Nca {
    beta: f64,
}

impl Formula<2> for Nca {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let (better, worse) = (beta * chosen.log_ratio(), beta * rejected.log_ratio()); // rewards
        -better.log_sigmoid() - 0.5 * (-better).log_sigmoid() - 0.5 * (-worse).log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
