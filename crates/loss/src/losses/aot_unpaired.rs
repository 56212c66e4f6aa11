//! Alignment via optimal transport on unpaired data: Melnyk et al. 2024, arXiv 2406.05882.
//!
//! The distribution of the chosen log-ratios is to dominate that of the rejected ones: sorted log-ratios meet, over the whole optimiser
//! step, ties by row, whatever prompt they belong to. TRL sorts within a micro-batch of a device. The paper's β is 0.01.

use crate::error::Error;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};
use super::{Built, Coupling, aot};

pub(super) static SPEC: Spec = Spec {
    name: "aot_unpaired",
    title: "Alignment via optimal transport, unpaired",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(0.0, (0.0, 0.5))],
    formula: "L = -(1-e) * ln sigmoid(beta * d_k) - e * ln sigmoid(-beta * d_k),  d_k = (k-th smallest r_w) - (k-th smallest r_l)",
    paper: "Melnyk et al., Distributional Preference Alignment of LLMs via Optimal Transport, 2024",
    arxiv: "2406.05882",
    when_to_use: "Wanted and unwanted answers that do not belong together, in equal numbers. Needs large steps, for the ranks to mean something.",
    implementations: "TRL: loss_type=aot_unpaired, sorted within each micro-batch; here over the optimiser step.",
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    aot::transport(&SPEC, Coupling::Answers, params)
}
