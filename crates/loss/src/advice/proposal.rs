//! Parameters that the data asks for, ready to be written into a configuration.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Signals;
use crate::diagnosis::Diagnosis;
use crate::loss::Loss;
use crate::params::Params;
use crate::saturation::{self, TOLERANCE};
use crate::spec::{ParamKind, Spec};
use crate::weighting;

/// The balance λ_D·n_D / (λ_U·n_U) that proposed class weights reach: both labels weigh the same in all.
pub const TARGET: f64 = 1.0;

/// A loss with parameters; what is not set stays at its default.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Proposal {
    /// Its name.
    pub loss: String,
    /// Those that the data asks for.
    pub params: Params,
    /// Why, one sentence each.
    pub why: Vec<String>,
}

pub(super) fn propose(
    spec: &Spec,
    data: &Diagnosis,
    signals: &Signals,
    imbalanced: bool,
) -> Proposal {
    let mut proposal = Proposal {
        loss: spec.name.to_string(),
        params: Params::new(),
        why: Vec::new(),
    };
    if imbalanced {
        proposal.weigh(spec, data);
    }
    // not the share of the repeated: it overstates where contradictions are why there are repeats
    let proven = data.noise.as_ref().map(|noise| noise.of_all.share);
    if let Some(share) = signals.noise.or(proven).filter(|share| *share > 0.0) {
        proposal.smooth(spec, share);
    }
    proposal
}

impl Proposal {
    fn weigh(&mut self, spec: &Spec, data: &Diagnosis) {
        let (n_d, n_u) = (data.counts.desirable, data.counts.undesirable);
        let keys = ["desirable_weight", "undesirable_weight"];
        let Ok(weights) = weighting::from_counts(n_d, n_u, TARGET) else {
            return;
        };
        let values = [weights.desirable, weights.undesirable];
        let takes = |(key, value)| allows(spec, key, value);
        if !keys.into_iter().zip(values).all(takes) {
            return;
        }
        for (key, value) in keys.into_iter().zip(values) {
            self.params.set(key, value);
        }
        self.why.push(format!(
            "class weights make {n_d} desirable and {n_u} undesirable rows weigh {TARGET} to 1"
        ));
    }

    /// A loss that gives rows up on the wrong side needs no smoothing: on a symmetric value function the modifier is a mere
    /// factor 1 − 2ε. At ½ nothing is left to learn.
    fn smooth(&mut self, spec: &Spec, share: f64) {
        const KEY: &str = "label_smoothing";
        // four digits: the estimate has no more, and a person reads them
        let share = libm::round(share * 1e4) / 1e4;
        let off = matches!(
            spec.param(KEY).map(|param| param.kind),
            Ok(ParamKind::Number { default: 0.0, .. })
        );
        if !off || share == 0.0 || share >= 0.5 || !allows(spec, KEY, share) || gives_up(spec) {
            return;
        }
        self.params.set(KEY, share);
        self.why.push(format!(
            "{KEY} is the share of labels known to be wrong; where it comes from contradictions it is a lower bound"
        ));
    }
}

fn allows(spec: &Spec, key: &str, value: f64) -> bool {
    spec.param(key)
        .is_ok_and(|param| param.check(&value.into()).is_ok())
}

fn gives_up(spec: &Spec) -> bool {
    let loss = Loss::new(spec.name, &Params::new());
    let bounds = loss.and_then(|loss| saturation::bounds(&loss, TOLERANCE));
    bounds.is_ok_and(|bounds| bounds.given_up.is_some())
}
