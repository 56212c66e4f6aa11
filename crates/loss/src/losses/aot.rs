//! Alignment via optimal transport on paired data: Melnyk et al. 2024, arXiv 2406.05882.
//!
//! The distribution of the policy's margins is to dominate the reference's, not each pair its own: sorted margins meet, over the whole
//! optimiser step, ties by row. TRL sorts within a micro-batch of a device, so its result depends on the batch. The paper's β is 0.01.

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, Spec};
use super::{Built, Coupling, Formula, Kernel, cdpo};

pub(super) static SPEC: Spec = Spec {
    name: "aot",
    title: "Alignment via optimal transport, paired",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.1), spec::label_smoothing(0.0, (0.0, 0.5))],
    formula: "L = -(1-e) * ln sigmoid(beta * d_k) - e * ln sigmoid(-beta * d_k),  d_k = (k-th smallest lp_w - lp_l) - (k-th smallest ref_w - ref_l)",
    paper: "Melnyk et al., Distributional Preference Alignment of LLMs via Optimal Transport, 2024",
    arxiv: "2406.05882",
    when_to_use: "Pairs, when the policy should be better on the whole rather than on every pair: single wrong pairs do not matter. Needs large steps, for the ranks to mean something.",
    implementations: "TRL: loss_type=aot, sorted within each micro-batch; here over the optimiser step.",
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    transport(&SPEC, Coupling::Margins, params)
}

/// The loss of whatever pairs a coupling makes.
pub(super) fn transport(spec: &Spec, coupling: Coupling, params: &Params) -> Result<Built, Error> {
    let formula = Aot {
        beta: params.number("beta")?,
        flipped: params.number("label_smoothing")?,
    };
    let mut built = Built::new(spec, Kernel::pair(formula));
    built.coupling = coupling;
    Ok(built)
}

#[derive(Debug)]
struct Aot {
    beta: f64,
    flipped: f64,
}

impl Formula<2> for Aot {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio());
        cdpo::smoothed(margin, self.flipped)
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
