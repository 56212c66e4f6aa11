//! Length-normalised DPO: Lambert et al. 2024 (Tülu 3), arXiv 2411.15124.
//!
//! Means over completion tokens, so long answers count no more than short ones and β is larger; the bounds are nats per token. The
//! reported reward is of the sum, β·r. Open-instruct's β is 5; TRL keeps its 0.1.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, Preset, Spec};
use crate::value::Value;

pub(super) static SPEC: Spec = Spec {
    name: "sigmoid_norm",
    title: "Length-normalised DPO",
    shape: DataShape::Paired,
    needs: &[Need::Reference, Need::Lengths],
    params: &[spec::beta(5.0)],
    modifiers: modifiers::MARGIN_OF_MEANS,
    presets: &[Preset {
        name: "trl",
        values: &[("beta", "0.1")],
    }],
    formula: "L = -ln sigmoid(beta * (r_w / n_w - r_l / n_l))",
    paper: "Lambert et al., Tulu 3: Pushing Frontiers in Open Language Model Post-Training, 2024",
    arxiv: "2411.15124",
    when_to_use: "Clean pairs whose chosen answers are longer than the rejected ones, of which dpo would learn length.",
    implementations: "open-instruct: dpo_norm, beta 5. TRL: loss_type=sigmoid_norm, the same formula, beta .1 unless \
                      set (compat=trl).",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 1,
            reason: "every comparison is used to the full, and long answers do not count more",
        },
        advice::NEEDS_PAIRS,
    ],
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let formula = SigmoidNorm {
        beta: params.number("beta")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(formula)))
}

#[derive(Debug)]
struct SigmoidNorm {
    beta: f64,
}

impl Formula<2> for SigmoidNorm {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        -(beta * (chosen.mean_log_ratio() - rejected.mean_log_ratio())).log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.log_ratio().value
    }

    /// Nats per token.
    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        (chosen.mean_log_ratio() - rejected.mean_log_ratio()).value
    }

    fn bounds(&self, tolerance: f64) -> Bounds {
        Bounds::of(Axis::Margin, Value::LogSigmoid, self.beta, tolerance)
    }
}
