//! Kahneman–Tversky optimisation of diffusion models: Li et al. 2024, arXiv 2404.04465, its Diffusion-KTO objective.
//!
//! A row's logp is −e, the negative mean squared denoising error, its ref_logp −ê of the reference with the same noise and
//! step. The formula is `kto`'s logistic one. z₀ there is the matched batch's mean, clamped at 0; its two other choices are
//! `class_mean` and rolled captions (`mismatch`), both unclamped.

use super::kto::Kto;
use super::Built;
use crate::advice::{Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::reference_point::Estimator;
use crate::spec::{self, DataShape, Need, ParamSpec, Spec};
use crate::value::Value;

pub(super) static SPEC: Spec = Spec {
    name: "diffusion_kto",
    title: "Kahneman-Tversky optimisation of diffusion models",
    shape: DataShape::Unpaired,
    needs: &[Need::Reference, Need::ReferencePoint, Need::Errors],
    params: &[
        spec::beta(1000.0),
        spec::DESIRABLE_WEIGHT,
        spec::UNDESIRABLE_WEIGHT,
        ParamSpec::choice(
            "reference_point",
            "batch_mean",
            &["batch_mean", "class_mean", "mismatch", "zero"],
            "how z0 is estimated: from the rows themselves, from the two classes' means, from rolled captions; zero leaves it out",
        ),
    ],
    modifiers: modifiers::TOKENLESS,
    formula: "L = lambda_y * (1 - sigmoid(beta * s * (r - z0))),  r = e_ref - e,  e the mean squared denoising error",
    paper: "Li et al., Aligning Diffusion Models by Optimizing Human Utility, 2024",
    arxiv: "2404.04465",
    when_to_use: "Images that people liked or disliked, one by one. The caller gives denoising errors in place of log-probabilities; \
                  language models are not trained with it.",
    implementations: "The authors' code: the mean of the matched batch clamped at 0 by default, the classes' mean or rolled captions, \
                      both unclamped, on request. TRL and HALOs have none for errors.",
    fits: &[Fit {
        data: Trait::FineComparisons,
        stance: Stance::Against,
        strength: 3,
        reason: "it judges images one by one",
    }],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let kto = Kto::new(Value::Logistic, params)?.weighted(params)?;
    let name = params.text("reference_point")?;
    // nothing is clamped in the authors' code but the mean of the batch
    let estimator = Estimator::new(name)?.clamp(name == "batch_mean");
    Ok(kto.built(&SPEC, estimator))
}
