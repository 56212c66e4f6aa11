//! DPO with the likelihood of the chosen answer: Pang et al. 2024 (iterative reasoning preference optimisation), arXiv 2404.19733;
//! Liu et al. 2024, arXiv 2405.16436, show that the term bounds over-optimisation.
//!
//! The likelihood is the mean over the answer's tokens, averaged over pairs; TRL's `sft` term is the mean over all chosen tokens.
//! NeMo-Aligner's "RPO" is another loss.

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::Bounds;
use crate::spec::{self, DataShape, Need, Spec};
use super::dpo::Dpo;
use super::{Built, Formula, Kernel};

pub(super) static SPEC: Spec = Spec {
    name: "rpo",
    title: "DPO with likelihood",
    shape: DataShape::Paired,
    needs: &[Need::Reference, Need::Lengths],
    params: &[spec::beta(0.1),
        spec::nll_weight(1.0, "weight of the chosen answer's negative log-likelihood per token")],
    modifiers: modifiers::MARGIN_WITH_NLL,
    formula: "L = -ln sigmoid(beta * (r_w - r_l)) + alpha * -ln pi(y_w|x) / n_w",
    paper: "Pang et al., Iterative Reasoning Preference Optimization, 2024",
    arxiv: "2404.19733",
    when_to_use: "Pairs of reasoning or code, where the chosen answer must stay likely: DPO alone may lower both.",
    implementations: "TRL: loss_type=[sigmoid, sft] with weights, its term being the mean over all chosen tokens (here: `dpo + sft`). 2405.16436 uses alpha 0.005.",
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Rpo {
        dpo: Dpo {
            beta: params.number("beta")?,
        },
        nll_weight: params.number("nll_weight")?,
    };
    let built = Built::new(&SPEC, Kernel::pair(formula));
    Ok(built)
}

#[derive(Debug)]
struct Rpo {
    dpo: Dpo,
    nll_weight: f64,
}

impl Formula<2> for Rpo {
    fn value(&self, unit: &[Sequence<2>; 2]) -> Dual<2> {
        self.dpo.value(unit) - self.nll_weight * unit[0].mean_logp()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.dpo.reward(row)
    }

    fn progress(&self, unit: &[Sequence<2>; 2]) -> f64 {
        self.dpo.progress(unit)
    }

    /// The preference rests where DPO's does; the likelihood never does.
    fn bounds(&self, tolerance: f64) -> Bounds {
        Bounds {
            max_slope: None,
            ..self.dpo.bounds(tolerance)
        }
    }
}
