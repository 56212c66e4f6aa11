//! Binary classifier optimisation on pairs: Jung et al. 2024, arXiv 2404.04656.
//!
//! Both answers are told apart from a shift δ = β·z₀, the running mean of rewards over all rows, updated with the current rows before
//! use. TRL dropped the shift from its `bco_pair`: the preset `trl`. Sums over completion tokens.

use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::reference_point::{Estimator, Source};
use crate::spec::{self, DataShape, Need, ParamSpec, Preset, Spec};
use super::{Built, Formula, Kernel};

pub(super) static SPEC: Spec = Spec {
    name: "bco_pair",
    title: "Binary classifier optimisation, paired",
    shape: DataShape::Paired,
    needs: &[Need::Reference, Need::ReferencePoint],
    params: &[spec::beta(0.1),
        ParamSpec::choice("reference_point", "running_mean", &["running_mean", "class_mean", "zero"], "the shift between wanted and unwanted: the mean of all rows so far, of the two classes, or none")],
    modifiers: modifiers::PAIRED,
    presets: &[Preset {
        name: "trl",
        values: &[("reference_point", "zero")],
    }],
    formula: "L = -ln sigmoid(beta * (r_w - z0)) - ln sigmoid(-beta * (r_l - z0))",
    paper: "Jung et al., Binary Classifier Optimization for Large Language Model Alignment, 2024",
    arxiv: "2404.04656",
    when_to_use: "Pairs, where chosen and rejected should each be right by themselves, and a shift of all rewards should not count.",
    implementations: "TRL: loss_type=bco_pair, without the shift (compat=trl). The shift of the removed BCO trainer is the running mean of beta * r over all rows.",
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = BcoPair {
        beta: params.number("beta")?,
    };
    let estimator = Estimator::new(params.text("reference_point")?)?;
    let mut built = Built::new(&SPEC, Kernel::pair(formula));
    if estimator.source() == Source::None {
        built = built.without(Need::ReferencePoint);
    }
    built.reference_point = Some(estimator);
    Ok(built)
}

#[derive(Debug)]
struct BcoPair {
    beta: f64,
}

impl Formula<2> for BcoPair {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let better = beta * (chosen.log_ratio() - chosen.z0);
        let worse = beta * (rejected.log_ratio() - rejected.z0);
        -better.log_sigmoid() - (-worse).log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }
}
