//! Anchored preference optimisation on single judgements: D'Oosterlinck et al. 2024, arXiv 2408.06266, equation 7 taken apart.
//!
//! L = λ_y · (1 − σ(s · β · r)), sums over completion tokens: bit for bit `kto` with `reference_point = zero`. As TRL's
//! `apo_zero_unpaired`; HALOs' `legacy` ablation of the same formula ignores the class weights, which are kept here.

use super::kto::Kto;
use super::Built;
use crate::advice::{Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::reference_point::Estimator;
use crate::spec::{self, DataShape, Need, Spec};
use crate::value::Value;

pub(super) static SPEC: Spec = Spec {
    name: "apo_zero_unpaired",
    title: "Anchored preference optimisation, zero, unpaired",
    shape: DataShape::Unpaired,
    needs: &[Need::Reference, Need::Lengths],
    params: &[
        spec::beta(0.1),
        spec::DESIRABLE_WEIGHT,
        spec::UNDESIRABLE_WEIGHT,
        modifiers::LENGTH_AVERAGE_PARAM,
    ],
    modifiers: modifiers::UNPAIRED,
    formula: "L = lambda_y * (1 - sigmoid(s * beta * r)),  r = ln pi(y|x) - ln pi_ref(y|x)",
    paper: "D'Oosterlinck et al., Anchored Preference Optimization and Contrastive Revisions, 2024, eq. 7 without its pairs",
    arxiv: "2408.06266",
    when_to_use: "Thumbs up and thumbs down when the desirable answers are better than the model's own, and mismatched forwards for a \
                  reference point are too dear: desirable answers become likelier than under the reference, undesirable ones less so.",
    implementations: "TRL: loss_type=apo_zero_unpaired of its KTO trainer, the same formula with class weights; averages micro-batch \
                      means, here the sum is divided by the optimiser step's rows. HALOs legacy has it as an ablation without class \
                      weights.",
    fits: &[
        Fit {
            data: Trait::Binary,
            stance: Stance::For,
            strength: 2,
            reason: "it reads single judgements as they are and needs no mismatched answers, but nothing follows the policy as z0 does",
        },
        Fit {
            data: Trait::Imbalanced,
            stance: Stance::For,
            strength: 1,
            reason: "class weights balance the rarer label",
        },
        Fit {
            data: Trait::Noisy,
            stance: Stance::For,
            strength: 2,
            reason: "rows far on the wrong side stop pulling",
        },
        Fit {
            data: Trait::FineComparisons,
            stance: Stance::Against,
            strength: 3,
            reason: "it judges answers one by one",
        },
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let length_average = params.flag("length_average")?;
    let kto = Kto::new(Value::Logistic, params)?
        .weighted(params)?
        .length_average(length_average);
    let nothing = Estimator::new("zero")?.length_average(length_average);
    Ok(kto.built(&SPEC, nothing))
}
