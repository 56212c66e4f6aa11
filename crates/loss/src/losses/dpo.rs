//! Direct preference optimisation: Rafailov et al. 2023, arXiv 2305.18290, equation 7.
//!
//! Sums over completion tokens. No label smoothing here: that is another loss (cDPO), and an option
//! that changes which loss is trained is easily ignored in silence, as TRL ≥ 0.29 does for `sigmoid`.

use super::{Built, Formula, Kernel};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::params::Params;
use crate::reference_point::Point;
use crate::saturation::{Axis, Bounds};
use crate::spec::{DataShape, Need, ParamSpec, Spec};
use crate::value::Value;

pub(super) static SPEC: Spec = Spec {
    name: "dpo",
    title: "Direct preference optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Reference],
    params: &[ParamSpec::number(
        "beta",
        0.1,
        (1e-6, 1e4),
        "inverse temperature: larger stays nearer the reference and saturates sooner",
    )],
    formula: "L = -ln sigmoid(beta * (r_w - r_l)),  r = ln pi(y|x) - ln pi_ref(y|x)",
    paper: "Rafailov et al., Direct Preference Optimization: Your Language Model is Secretly a Reward Model, 2023, eq. 7",
    arxiv: "2305.18290",
    when_to_use: "Clean pairs of a better and a worse answer to the same prompt. It never gives up on a pair, \
                  so contradictory or mislabelled pairs keep pulling; the reward of the chosen answer may fall \
                  as long as the margin grows.",
    implementations: "TRL: loss_type=sigmoid, the same formula and beta; averages micro-batch means, here the \
                      sum is divided by the optimiser step's pairs. HALOs: the same, rewards reported with beta.",
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    Ok(Built::new(
        &SPEC,
        Kernel::pair(Dpo {
            beta: params.number("beta")?,
        }),
    ))
}

#[derive(Debug)]
struct Dpo {
    beta: f64,
}

impl Formula<2> for Dpo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2], _: &Point) -> Dual<2> {
        let margin = self.beta * (chosen.log_ratio() - rejected.log_ratio()); // of rewards
        -margin.log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.log_ratio().value
    }

    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2], _: &Point) -> f64 {
        (chosen.log_ratio() - rejected.log_ratio()).value
    }

    fn bounds(&self, tolerance: f64) -> Bounds {
        Bounds::of(Axis::Margin, Value::LogSigmoid, self.beta, tolerance)
    }
}
