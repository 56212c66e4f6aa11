//! Log-ratio modulated loss, discovered by a language model: Lu et al. 2024 (DiscoPOP), arXiv 2406.08414.
//!
//! A blend of DPO's loss and an exponential one, by a gate M = σ(βδ/τ) through which the gradient flows. Not convex: a local optimum
//! lies at small negative margins. Sums over completion tokens.

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{self, DataShape, Need, ParamSpec, Spec};
use super::{Built, Formula, Kernel};

pub(super) static SPEC: Spec = Spec {
    name: "discopop",
    title: "DiscoPOP",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[spec::beta(0.05),
        ParamSpec::number("tau", 0.05, (1e-3, 1e3), "width of the blend between the two losses, in rewards")],
    modifiers: modifiers::MARGIN,
    formula: "L = (1 - M) * -ln sigmoid(k) + M * e^-k,  k = beta * (r_w - r_l),  M = sigmoid(k / tau)",
    paper: "Lu et al., Discovering Preference Optimization Algorithms with and for Large Language Models, 2024",
    arxiv: "2406.08414",
    when_to_use: "Clean pairs, as an alternative to DPO that lets go of learnt pairs later and of wrong ones a little earlier.",
    implementations: "TRL: loss_type=discopop, discopop_tau; the exponential is not capped there, and here not needed: M falls faster than e^-k grows.",
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = Discopop {
        beta: params.number("beta")?,
        tau: params.number("tau")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct Discopop {
    beta: f64,
    tau: f64,
}

impl Formula<2> for Discopop {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = beta * (chosen.log_ratio() - rejected.log_ratio()); // k, of rewards
        let gate = margin / self.tau;
        // M·e^-k as one exponential: each factor alone can overflow; a τ above 1 leaves it growing
        let exponential = (gate.log_sigmoid() - margin).exp_capped();
        (-gate).sigmoid() * -margin.log_sigmoid() + exponential
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
