//! Alignment via optimal transport, unpaired: Melnyk et al. 2024, arXiv 2406.05882.
//!
//! The chosen log-ratios are to be larger than the rejected ones as a distribution, whatever prompts they belong to: log-ratios that have
//! the same rank meet, and each meeting is a pair of `cdpo`'s formula. Sums over completion tokens. Ranks are over the whole optimiser
//! step, ties by row; TRL ranks within a device's micro-batch. The paper uses β = 0.01.

use super::{Built, Coupling, aot};
use crate::advice::{Fit, Stance, Trait};
use crate::error::Error;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "aot_unpaired",
    title: "Alignment via optimal transport, unpaired",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(0.0, (0.0, 0.5))],
    modifiers: modifiers::COUPLED,
    formula: "L = -(1-e) * ln sigmoid(beta * d_k) - e * ln sigmoid(-beta * d_k),  d_k = k-th smallest r_w - k-th \
              smallest r_l",
    paper: "Melnyk et al., Distributional Preference Alignment of LLMs via Optimal Transport, 2024",
    arxiv: "2406.05882",
    when_to_use: "Wanted and unwanted answers, as many of each, that need not belong together. Needs large steps, or \
                  ranks mean little.",
    implementations: "TRL: loss_type=aot_unpaired, the same formula and beta, ranked within each micro-batch; here \
                      over the optimiser step. The paper has beta 0.01.",
    fits: &[
        Fit {
            data: Trait::Pairs,
            stance: Stance::For,
            strength: 1,
            reason: "chosen and rejected answers are compared as two crowds, whatever prompts they belong to",
        },
        Fit {
            data: Trait::Binary,
            stance: Stance::Against,
            strength: 3,
            reason: "it needs as many rejected answers as chosen ones, and weighs them only by rank",
        },
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    aot::transport(&SPEC, Coupling::Answers, params)
}
