//! Direct preference optimisation of diffusion models: Wallace et al. 2023, arXiv 2311.12908.
//!
//! A row's logp is −e, the negative mean squared denoising error, its ref_logp −ê of the reference: same noise and step for both
//! images of a pair. L = −ln σ(½β(r_w − r_l)) is `dpo` with half the β. The paper folds T·ω(λ_t) into β; its published
//! code averages e over pixels and uses β 5000 with the half, as here.

use super::dpo::Dpo;
use super::{Built, Kernel};
use crate::advice::{Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "diffusion_dpo",
    title: "Direct preference optimisation of diffusion models",
    shape: DataShape::Paired,
    needs: &[Need::Reference, Need::Errors],
    params: &[spec::beta(5000.0)],
    modifiers: modifiers::TOKENLESS,
    formula: "L = -ln sigmoid(-beta / 2 * ((e_w - e_l) - (e_ref_w - e_ref_l))),  e the mean squared denoising error",
    paper: "Wallace et al., Diffusion Model Alignment Using Direct Preference Optimization, 2023",
    arxiv: "2311.12908",
    when_to_use: "Pairs of a better and a worse image to the same caption. The caller gives denoising errors in place of \
                  log-probabilities; language models are not trained with it.",
    implementations: "SalesforceAIResearch/DiffusionDPO, train.py: the same formula with beta_dpo 5000. TRL and HALOs have none for \
                      errors.",
    fits: &[Fit {
        data: Trait::Binary,
        stance: Stance::Against,
        strength: 3,
        reason: "it needs two images to one caption",
    }],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let beta = 0.5 * params.number("beta")?;
    Ok(Built::new(&SPEC, Kernel::pair(Dpo { beta })))
}
