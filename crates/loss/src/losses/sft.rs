//! Supervised fine-tuning: maximum likelihood of the completions.
//!
//! Labels are not read: whoever wants only the desirable rows leaves the others out of the data.

use super::{Built, Denominator, Formula, Kernel};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::params::Params;
use crate::advice::{Fit, Stance, Trait};
use crate::spec::{DataShape, Need, ParamSpec, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "sft",
    title: "Supervised fine-tuning",
    shape: DataShape::Any,
    needs: &[Need::Lengths],
    params: &[AVERAGE],
    formula: "token: L = sum -ln pi(y|x) / sum n;  sequence: L = mean of -ln pi(y|x) / n;  sum: L = mean of -ln pi(y|x)",
    paper: "maximum likelihood",
    arxiv: "",
    when_to_use: "Before any preference loss, on answers worth imitating, so that policy and reference know the \
                  format. All rows are imitated, whatever their label.",
    implementations: "TRL: the token mean over the optimiser step; on prompt-completion data, completion tokens only, as \
                      here. HALOs divides by the micro-batch's tokens.",
    fits: &[Fit {
        data: Trait::Demonstrations,
        stance: Stance::For,
        strength: 3,
        reason: "answers without judgements can only be imitated",
    }],
    ..Spec::EMPTY
};

/// How a likelihood is averaged.
pub(super) const AVERAGE: ParamSpec = ParamSpec::choice(
    "average",
    "token",
    &["token", "sequence", "sum"],
    "token: every token of the step weighs the same; sequence: every row does, as its mean over tokens; sum: every row does, \
     as its sum over tokens",
);

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    likelihood(&SPEC, params)
}

/// Maximum likelihood under the parameter `average`; for other losses that are the same on other data.
pub(super) fn likelihood(spec: &Spec, params: &Params) -> Result<Built, Error> {
    let average = params.text("average")?;
    let kernel = Kernel::row(Sft {
        per_token: average == "sequence",
    });
    let mut built = Built::new(spec, kernel);
    if average == "token" {
        built.denominator = Denominator::Tokens;
    }
    Ok(match average {
        "sum" => built.without(Need::Lengths),
        _ => built,
    })
}

#[derive(Debug)]
struct Sft {
    per_token: bool,
}

impl Formula<1> for Sft {
    fn value(&self, [row]: &[Sequence<1>; 1]) -> Dual<1> {
        match self.per_token {
            true => -row.mean_logp(),
            false => -row.logp,
        }
    }
}
