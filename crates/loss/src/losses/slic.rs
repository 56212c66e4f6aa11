//! Sequence likelihood calibration: Zhao et al. 2023, arXiv 2305.10425.
//!
//! Sums over completion tokens, no reference: a hinge on the margin plus the likelihood of the chosen answer, a sum too, as
//! HALOs `legacy` has it. (HALOs `main` adds an array of tokens to one of rows there.) The paper's likelihood is that of a
//! target of supervised training; with pairs alone it is the chosen answer.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, ParamSpec, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "slic",
    title: "Sequence likelihood calibration",
    shape: DataShape::Paired,
    needs: &[],
    params: &[
        ParamSpec::number(
            "margin",
            1.0,
            (0.0, 1e6),
            "how much likelier the chosen answer must be before the hinge rests, nats",
        ),
        spec::nll_weight(
            0.1,
            "weight of the chosen answer's negative log-likelihood, a sum over its tokens",
        ),
    ],
    modifiers: modifiers::REFERENCE_FREE_NLL,
    formula: "L = max(0, margin - ln pi(y_w|x) + ln pi(y_l|x)) - nll_weight * ln pi(y_w|x)",
    paper: "Zhao et al., SLiC-HF: Sequence Likelihood Calibration with Human Feedback, 2023",
    arxiv: "2305.10425",
    when_to_use: "Pairs, no memory for a reference model, and a loss that leaves a pair alone once it is in order; the likelihood then \
                  goes on by itself.",
    implementations: "HALOs legacy: the same, likelihood summed over the sequence; main adds arrays of different shapes. TRL: \
                      loss_type=hinge of its CPO trainer has beta inside the hinge. Averages of micro-batch means there, the optimiser \
                      step's pairs here.",
    fits: &[
        advice::HAS_PAIRS,
        Fit {
            data: Trait::FineComparisons,
            stance: Stance::Against,
            strength: 1,
            reason: "the hinge rests as soon as a pair is in order, however long its answers",
        },
        Fit {
            data: Trait::Noisy,
            stance: Stance::Against,
            strength: 3,
            reason: "wrong pairs pull with full strength until they are learnt",
        },
        advice::NEEDS_PAIRS,
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let slic = Slic {
        margin: params.number("margin")?,
        nll_weight: params.number("nll_weight")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(slic)))
}

#[derive(Debug)]
struct Slic {
    margin: f64,
    nll_weight: f64,
}

impl Formula<2> for Slic {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let missing = self.margin - chosen.logp + rejected.logp;
        missing.relu() - self.nll_weight * chosen.logp
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        row.logp.value
    }

    /// ln π(y_w) − ln π(y_l); a β of the example's own changes nothing here.
    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.logp - rejected.logp).value / chosen.beta_scale
    }

    /// In order beyond the margin; with a likelihood, that alone goes on there and the slope is no fraction of the steepest.
    fn bounds(&self, _tolerance: f64) -> Bounds {
        Bounds {
            axis: Axis::Margin,
            learnt: Some(self.margin),
            given_up: None,
            max_slope: (self.nll_weight == 0.0).then_some(1.0),
            formula: "δ",
        }
    }
}
