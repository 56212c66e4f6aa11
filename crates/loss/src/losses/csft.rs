//! Conditional supervised fine-tuning: Korbak et al. 2023, arXiv 2302.08582: its conditional training.
//!
//! The formula is `sft`'s on sequences that begin with a control token for the label; the data step puts it there, once and without
//! touching the record. HALOs' loader prepends again each epoch; here the sum is divided by the optimiser step's tokens.

use super::{Built, sft};
use crate::advice::{Fit, Stance, Trait};
use crate::error::Error;
use crate::params::Params;
use crate::spec::{DataShape, Need, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "csft",
    title: "Conditional supervised fine-tuning",
    shape: DataShape::Unpaired,
    needs: &[Need::Lengths, Need::ControlTokens],
    params: &[sft::AVERAGE],
    formula: "token: L = sum -ln pi(y|x,c) / sum n;  sequence: L = mean of -ln pi(y|x,c) / n;  sum: L = mean of -ln pi(y|x,c);  \
              c = <|good|> or <|bad|> by the label",
    paper: "Korbak et al., Pretraining Language Models with Human Preferences, 2023",
    arxiv: "2302.08582",
    when_to_use: "Judged answers when a preference loss is not wanted: the model learns to say both kinds, and the token for good ones \
                  ends the prompt at inference. The plainest baseline for single judgements.",
    implementations: "HALOs: the same control tokens, but its loader adds them again every epoch, and sums are divided by the \
                      micro-batch's tokens. TRL has none.",
    fits: &[
        Fit {
            data: Trait::Binary,
            stance: Stance::For,
            strength: 1,
            reason: "it reads single judgements as they are, though it learns from bad answers only what bad means",
        },
        Fit {
            data: Trait::Pairs,
            stance: Stance::Against,
            strength: 2,
            reason: "it forgets which answer was compared with which",
        },
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    sft::likelihood(&SPEC, params)
}
