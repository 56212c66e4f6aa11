//! Binary classifier optimisation: Jung et al. 2024, arXiv 2404.04656, its loss with the shift δ = β·z₀.
//!
//! L = w · −ln σ(s · β · (r − z₀)), sums over completion tokens: bit for bit `kto` with `value = log_sigmoid` and
//! `reference_point = running_mean`. δ is TRL's running mean over all rows, updated with the step before use; the paper's
//! own, ½(E_D[βr] + E_U[βr]) as an exponential mean, is nearest to `class_mean`. w is the row's weight: the paper's
//! underlying-distribution matching is a column of the data, not the loss's work.

use super::kto::Kto;
use super::Built;
use crate::advice::{Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::reference_point::{self, Estimator};
use crate::spec::{self, DataShape, Need, ParamSpec, Spec};
use crate::value::Value;

pub(super) static SPEC: Spec = Spec {
    name: "bco",
    title: "Binary classifier optimisation",
    shape: DataShape::Unpaired,
    needs: &[Need::Reference, Need::ReferencePoint, Need::Lengths],
    params: &[
        spec::beta(0.1),
        ParamSpec::choice(
            "reference_point",
            "running_mean",
            &["running_mean", "ema", "class_mean", "zero"],
            "how the shift delta = beta * z0 is estimated, always unclamped; zero leaves it out",
        ),
        ParamSpec::number(
            "reference_point_decay",
            reference_point::DECAY,
            (0.0, 1.0),
            "what reference_point=ema keeps of its mean at each step",
        ),
        modifiers::LENGTH_AVERAGE_PARAM,
    ],
    modifiers: modifiers::UNPAIRED,
    formula: "L = w * -ln sigmoid(s * beta * (r - z0)),  r = ln pi(y|x) - ln pi_ref(y|x);  w is the row's weight",
    paper: "Jung et al., Binary Classifier Optimization for Large Language Model Alignment, 2024",
    arxiv: "2404.04656",
    when_to_use: "Thumbs up and thumbs down with few wrong labels: a classifier's cross-entropy whose logit is the reward. Unlike kto it \
                  never gives a row up. Where the prompts of the two labels differ, give rows weights.",
    implementations: "TRL: loss_type=bco, the same running delta, logged per device; the paper uses beta .01 and an exponential mean of \
                      the two classes' means. HALOs has none. Averages of micro-batch means there, the optimiser step's rows here.",
    fits: &[
        Fit {
            data: Trait::Binary,
            stance: Stance::For,
            strength: 2,
            reason: "it reads single judgements as they are, and its shift costs no mismatched forwards",
        },
        Fit {
            data: Trait::Imbalanced,
            stance: Stance::Against,
            strength: 1,
            reason: "the shift is the mean over all rows and leans towards the label that has more of them",
        },
        Fit {
            data: Trait::Noisy,
            stance: Stance::Against,
            strength: 2,
            reason: "rows on the wrong side never stop pulling, wrong labels included",
        },
        Fit {
            data: Trait::FineComparisons,
            stance: Stance::Against,
            strength: 2,
            reason: "it judges answers one by one",
        },
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let length_average = params.flag("length_average")?;
    let estimator = Estimator::new(params.text("reference_point")?)?
        .length_average(length_average)
        .memory(
            params.number("reference_point_decay")?,
            reference_point::WINDOW,
        );
    let kto = Kto::new(Value::LogSigmoid, params)?.length_average(length_average);
    Ok(kto.built(&SPEC, estimator))
}
