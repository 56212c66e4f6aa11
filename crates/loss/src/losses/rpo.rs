//! DPO with the likelihood of the chosen answer: Pang et al. 2024 (iterative reasoning preference optimisation), arXiv 2404.19733;
//! Liu et al. 2024, arXiv 2405.16436, show that the term bounds over-optimisation, with a weight of 0.005.
//!
//! The preference is of sums over completion tokens; the likelihood is the mean over an answer's tokens, averaged over pairs, where TRL's
//! `sft` term is the mean over all tokens of chosen answers. Bit for bit `dpo` with `nll_weight`. NeMo-Aligner's "RPO" is another loss.

use super::dpo::Dpo;
use super::{Built, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "rpo",
    title: "DPO with likelihood",
    shape: DataShape::Paired,
    needs: &[Need::Reference, Need::Lengths],
    params: &[
        spec::beta(0.1),
        spec::nll_weight(1.0, "weight of the chosen answer's negative log-likelihood per token"),
    ],
    modifiers: modifiers::MARGIN_WITH_NLL,
    formula: "L = -ln sigmoid(beta * (r_w - r_l)) + nll_weight * -ln pi(y_w|x) / n_w",
    paper: "Pang et al., Iterative Reasoning Preference Optimization, 2024",
    arxiv: "2404.19733",
    when_to_use: "Pairs of reasoning or code, where the chosen answers must stay likely: dpo alone may make both less \
                  likely.",
    implementations: "TRL: loss_type=[sigmoid, sft] with loss_weights; its likelihood is the mean over all tokens of \
                      chosen answers, which here is the sum dpo + sft.",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 1,
            reason: "chosen answers are imitated while they are preferred, so that many good ones are used twice",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let dpo = Dpo {
        beta: params.number("beta")?,
    };
    let mut built = Built::new(&SPEC, Kernel::pair(dpo));
    built.nll_weight = params.number("nll_weight")?;
    Ok(match built.nll_weight > 0.0 {
        true => built,
        false => built.without(Need::Lengths),
    })
}
