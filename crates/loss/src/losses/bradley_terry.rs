//! A reward model on comparisons: Bradley and Terry 1952, as in Ouyang et al. 2022 (arXiv 2203.02155).
//!
//! A row's logp is the score f of the reward head. The margin m is a constant plus a multiple of the difference of the data's
//! ratings: Llama 2 (arXiv 2307.09288). `centering` keeps scores around 0 (arXiv 2312.09244, suggested .01). As
//! TRL's RewardTrainer, which takes margins from the data only.

use super::{Built, Formula, Kernel};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Sequence;
use crate::modifiers;
use crate::params::Params;
use crate::spec::{DataShape, Need, ParamSpec, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "bradley_terry",
    title: "Reward model of comparisons",
    shape: DataShape::Paired,
    needs: &[Need::Scores],
    params: &[
        ParamSpec::number(
            "margin",
            0.0,
            (0.0, 1e6),
            "how much more the chosen answer must score, the same for all pairs",
        ),
        ParamSpec::number(
            "margin_scale",
            0.0,
            (0.0, 1e6),
            "how much of the difference of the data's ratings is added to the margin",
        ),
        ParamSpec::number(
            "centering",
            0.0,
            (0.0, 1e6),
            "weight of the squared sum of the two scores, which keeps them around 0; .01 is common",
        ),
    ],
    modifiers: modifiers::TOKENLESS,
    formula: "L = -ln sigmoid(f_w - f_l - m) + centering * (f_w + f_l)^2,  f the reward head's score,  m = margin + margin_scale * \
              (score_w - score_l)",
    paper: "Ouyang et al., Training Language Models to Follow Instructions with Human Feedback, 2022",
    arxiv: "2203.02155",
    when_to_use: "To train a reward model on pairs: it scores answers and changes no policy. Give a margin where people said by how much an \
                  answer is better.",
    implementations: "TRL: RewardTrainer, the same with center_rewards_coefficient and a margin column. HALOs: the same without either. \
                      Averages of micro-batch means there, the optimiser step's pairs here.",
    fits: &[
        advice::NEEDS_PAIRS,
        Fit {
            data: Trait::Noisy,
            stance: Stance::Against,
            strength: 1,
            reason: "wrong pairs never stop pulling, though contradictory ones average out in the score",
        },
    ],
    ..Spec::EMPTY
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let bradley_terry = BradleyTerry {
        margin: params.number("margin")?,
        margin_scale: params.number("margin_scale")?,
        centering: params.number("centering")?,
    };
    Ok(Built::new(&SPEC, Kernel::pair(bradley_terry)))
}

#[derive(Debug)]
struct BradleyTerry {
    margin: f64,
    margin_scale: f64,
    centering: f64,
}

impl Formula<2> for BradleyTerry {
    fn value(&self, [chosen, rejected]: &[Sequence<2>; 2]) -> Dual<2> {
        let margin = self.margin + self.margin_scale * (chosen.score - rejected.score);
        let fit = -(chosen.logp - rejected.logp - margin).log_sigmoid();
        match self.centering > 0.0 {
            true => fit + self.centering * (chosen.logp + rejected.logp).square(),
            false => fit,
        }
    }

    /// The score itself.
    fn reward(&self, row: &Sequence<2>) -> f64 {
        row.logp.value
    }
}
