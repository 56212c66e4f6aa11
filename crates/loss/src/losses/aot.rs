//! Alignment via optimal transport, paired: Melnyk et al. 2024, arXiv 2406.05882.
//!
//! The policy's margins are to be larger than the reference's as a distribution, not pair by pair: margins that have the same rank meet,
//! and each meeting is a pair of `cdpo`'s formula. Sums over completion tokens. Ranks are over the whole optimiser step, ties by row; TRL
//! ranks within a device's micro-batch, so that its result depends on the batch. The paper uses β = 0.01.

use super::cdpo::Cdpo;
use super::{Built, Coupling, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "aot",
    title: "Alignment via optimal transport, paired",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(0.0, (0.0, 0.5))],
    modifiers: modifiers::COUPLED,
    formula: "L = -(1-e) * ln sigmoid(beta * d_k) - e * ln sigmoid(-beta * d_k),  d_k = k-th smallest (ln pi_w - ln \
              pi_l) - k-th smallest (ln pi_ref_w - ln pi_ref_l)",
    paper: "Melnyk et al., Distributional Preference Alignment of LLMs via Optimal Transport, 2024",
    arxiv: "2406.05882",
    when_to_use: "Pairs, when the policy should be better on the whole and a single pair need not be. Needs large \
                  steps, or ranks mean little.",
    implementations: "TRL: loss_type=aot, the same formula and beta, ranked within each micro-batch; here over the \
                      optimiser step. The paper has beta 0.01.",
    fits: &[
        Fit {
            data: Trait::Noisy,
            stance: Stance::For,
            strength: 1,
            reason: "a wrong pair moves ranks a little, and is not fitted for itself",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    transport(&SPEC, Coupling::Margins, params)
}

/// The loss of the pairs that a coupling makes.
pub(super) fn transport(
    spec: &Spec,
    coupling: Coupling,
    params: &Params,
) -> Result<Built, Error> {
    let formula = Cdpo {
        beta: params.number("beta")?,
        flipped: params.number("label_smoothing")?,
    };
    let mut built = Built::new(spec, Kernel::pair(formula));
    built.coupling = coupling;
    Ok(built)
}
