//! Contrastive preference optimisation: Xu et al. 2024, arXiv 2401.08417: preference term plus likelihood of the chosen
//! answer.
//!
//! The preference term is `dpo`'s on sums over completion tokens with a uniform reference; the likelihood is the chosen
//! answer's mean over its tokens (the paper leaves the average open; TRL takes the micro-batch's token mean).

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
    name: "cpo",
    title: "Contrastive preference optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Lengths],
    params: &[
        spec::beta(0.1),
        spec::nll_weight(
            1.0,
            "weight of the chosen answer's negative log-likelihood per token",
        ),
        spec::label_smoothing(0.0, (0.0, 0.5)),
    ],
    modifiers: modifiers::REFERENCE_FREE_SMOOTHED_NLL,
    formula: "L = -(1-e) ln sigmoid(m) - e ln sigmoid(-m) + nll_weight * (-a_w),  m = beta * (ln pi(y_w|x) - ln pi(y_l|x)),  \
              a = ln pi(y|x) / n",
    paper: "Xu et al., Contrastive Preference Optimization: Pushing the Boundaries of LLM Performance in Machine Translation, 2024",
    arxiv: "2401.08417",
    when_to_use: "Pairs whose chosen answers are worth imitating, as in translation, and no memory for a reference model. The likelihood \
                  term keeps the chosen answer likely while the margin grows.",
    implementations: "TRL: its CPO trainer, the same beta and cpo_alpha 1; the likelihood is the token mean over the micro-batch. HALOs: \
                      the same preference term. Here the sum is divided by the optimiser step's pairs.",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 1,
            reason: "the likelihood of the chosen answer stands in for a reference, if chosen answers are worth imitating",
        },
        advice::HAS_PAIRS,
        Fit {
            data: Trait::Noisy,
            stance: Stance::Against,
            strength: 3,
            reason: "it imitates the chosen answers of wrong pairs too",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let cpo = Cpo {
        beta: params.number("beta")?,
        nll_weight: params.number("nll_weight")?,
        smoothing: params.number("label_smoothing")?,
    };
    let plain = cpo.nll_weight == 0.0;
    let built = Built::new(&SPEC, Kernel::pair(cpo));
    Ok(match plain {
        true => built.without(Need::Lengths),
        false => built,
    })
}

#[derive(Debug)]
struct Cpo {
    beta: f64,
    nll_weight: f64,
    smoothing: f64,
}

impl Formula<2> for Cpo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let margin = self.beta * chosen.beta_scale * (chosen.logp - rejected.logp);
        let mut value = -((1.0 - self.smoothing) * margin.log_sigmoid());
        if self.smoothing > 0.0 {
            value = value - self.smoothing * (-margin).log_sigmoid();
        }
        if self.nll_weight > 0.0 {
            value = value - self.nll_weight * chosen.mean_logp();
        }
        value
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.logp.value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.logp - rejected.logp).value
    }

    /// A likelihood never rests, and a smoothed margin pulls back.
    fn bounds(&self, tolerance: f64) -> Bounds {
        match self.nll_weight > 0.0 || self.smoothing > 0.0 {
            true => Bounds::never(),
            false => Bounds::of(Axis::Margin, Value::LogSigmoid, self.beta, tolerance),
        }
    }
}
