//! Simple preference optimisation: Meng et al. 2024, arXiv 2405.14734.
//!
//! Means over completion tokens, no reference. The paper tunes γ/β, so γ = `gamma_beta_ratio` · β follows β (and an example's own).
//! TRL inherits β .1 and γ .5 of its CPO trainer and adds a likelihood of weight 1: the preset `trl`.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, ParamSpec, Preset, Spec};
use crate::value::Value;

pub(super) static SPEC: Spec = Spec {
    name: "simpo",
    title: "Simple preference optimisation",
    shape: DataShape::Paired,
    needs: &[Need::Lengths],
    params: &[
        spec::beta(2.5),
        ParamSpec::number(
            "gamma_beta_ratio",
            0.55,
            (0.0, 1e3),
            "the target margin of mean log-probabilities, nats per token: gamma / beta",
        ),
    ],
    modifiers: modifiers::REFERENCE_FREE,
    presets: &[
        Preset {
            name: "trl",
            values: &[("beta", "0.1"), ("gamma_beta_ratio", "5"), ("nll_weight", "1")],
        },
        Preset {
            name: "halos",
            values: &[("beta", "10"), ("gamma_beta_ratio", "0.3")],
        },
    ],
    formula: "L = -ln sigmoid(beta * (a_w - a_l) - gamma),  a = ln pi(y|x) / n,  gamma = gamma_beta_ratio * beta",
    paper: "Meng et al., SimPO: Simple Preference Optimization with a Reference-Free Reward, 2024",
    arxiv: "2405.14734",
    when_to_use: "Clean pairs, no memory for a reference model, and answers whose length should not count. Nothing holds the policy near \
                  where it began: small learning rates, few epochs.",
    implementations: "TRL: loss_type=simpo of its CPO trainer, beta .1, gamma .5 and a likelihood of weight 1 unless told otherwise. \
                      HALOs: beta 10, gamma/beta .3. Both average micro-batch means; here the sum is divided by the optimiser step's \
                      pairs.",
    fits: &[
        Fit {
            data: Trait::AbundantCleanPairs,
            stance: Stance::For,
            strength: 2,
            reason: "it uses every comparison to the full and does not favour long answers, but nothing holds it near the start",
        },
        advice::HAS_PAIRS,
        Fit {
            data: Trait::Noisy,
            stance: Stance::Against,
            strength: 3,
            reason: "wrong pairs never stop pulling, and no reference holds back",
        },
        advice::NEEDS_PAIRS,
    ],
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let simpo = Simpo {
        beta: params.number("beta")?,
        ratio: params.number("gamma_beta_ratio")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(simpo)))
}

#[derive(Debug)]
struct Simpo {
    beta: f64,
    ratio: f64,
}

impl Formula<2> for Simpo {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let beta = self.beta * chosen.beta_scale;
        let margin = chosen.mean_logp() - rejected.mean_logp(); // nats per token
        -(beta * (margin - self.ratio)).log_sigmoid()
    }

    fn reward(&self, row: &Sequence<2>) -> f64 {
        self.beta * row.beta_scale * row.mean_logp().value
    }

    /// a_w − a_l; a β of the example's own stretches only what is beyond the target.
    fn progress(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> f64 {
        let margin = (chosen.mean_logp() - rejected.mean_logp()).value;
        margin - self.ratio + self.ratio / chosen.beta_scale
    }

    fn bounds(&self, tolerance: f64) -> Bounds {
        let bounds = Bounds::of(Axis::Margin, Value::LogSigmoid, self.beta, tolerance);
        Bounds {
            learnt: bounds.learnt.map(|margin| margin + self.ratio),
            formula: "γ/β + ln((1 − ε)/ε) / β",
            ..bounds
        }
    }
}
