//! Proximal policy optimisation's clip: Schulman et al. 2017, arXiv 1707.06347; offline as in Ethayarajh et al.
//! 2024, arXiv 2402.01306, appendix B.
//!
//! Mean over all tokens of the optimiser step. Offline, ratios are to the reference and clipped to [1/4, 4], and kl_weight ·
//! (ln π − ln π_ref) pulls back. The paper's advantages come from a reward ±1 on the last token, GAE and a critic; here an
//! advantage is an input, and without a critic it is the label's sign on every token (ours). HALOs `main` clips to [.5, 1.5],
//! and its divergence has the other sign than `legacy`'s.

use super::{Built, Denominator, Kernel, TokenFormula};
use crate::advice::{self, Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::Token;
use crate::modifiers;
use crate::params::Params;
use crate::policy_gradient::{self, Clip};
use crate::spec::{DataShape, Need, ParamSpec, Preset, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "ppo_clip",
    title: "Proximal policy optimisation, clipped",
    shape: DataShape::Grouped,
    needs: &[Need::TokenLogps, Need::OldLogps, Need::Advantages, Need::Lengths, Need::Reference],
    params: &[
        policy_gradient::advantage("sign"),
        ParamSpec::choice(
            "old_policy",
            "reference",
            &["reference", "sampling"],
            "what ratios are to: the reference, for answers of unknown origin, or the policy that said them",
        ),
        ParamSpec::number(
            "ratio_low",
            0.25,
            (0.0, 1.0),
            "ratios are clipped to no less than this",
        ),
        ParamSpec::number(
            "ratio_high",
            4.0,
            (1.0, 1e3),
            "ratios are clipped to no more than this",
        ),
        ParamSpec::number(
            "kl_weight",
            0.1,
            (0.0, 1e3),
            "weight of the mean log-ratio to the reference, which is added per token",
        ),
    ],
    modifiers: modifiers::POLICY_GRADIENT,
    presets: &[Preset {
        name: "halos",
        values: &[("ratio_low", "0.5"), ("ratio_high", "1.5")],
    }],
    formula: "L = sum over rows and tokens of P(rho) + kl_weight * (ln pi - ln pi_ref) / tokens of the step,  P(rho) = \
                  -min(rho * A, clip(rho, ratio_low, ratio_high) * A),  rho = pi / pi_old",
    paper: "Schulman et al., Proximal Policy Optimization Algorithms, 2017",
    arxiv: "1707.06347",
    when_to_use: "The baseline for judged answers that KTO's paper compares with: with its defaults it reads thumbs up and down as \
                  advantages of +1 and -1. With old_policy=sampling and advantages of rewards, plain PPO without a critic.",
    implementations: "HALOs: the paper's offline PPO with a critic and GAE, clip to [.5, 1.5]. TRL's online PPO: ratios .8 to 1.2, GAE \
                  1 and .95, a critic, the divergence inside the rewards. Averages of micro-batch means there, the optimiser \
                  step's tokens here.",
    fits: &[
        Fit {
            data: Trait::Binary,
            stance: Stance::For,
            strength: 1,
            reason: "it reads single judgements as they are, but long answers dominate and nothing follows the policy as z0 does",
        },
        Fit {
            data: Trait::Rewards,
            stance: Stance::For,
            strength: 1,
            reason: "it can use rewards as advantages, without comparing the answers of a prompt unless told to",
        },
        advice::FORGETS_COMPARISONS,
    ],
};

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let ppo = PpoClip {
        clip: Clip {
            low: params.number("ratio_low")?,
            high: params.number("ratio_high")?,
        },
        offline: params.text("old_policy")? == "reference",
        kl_weight: params.number("kl_weight")?,
    };
    let (offline, pulled) = (ppo.offline, ppo.kl_weight > 0.0);
    let mut built = policy_gradient::built(&SPEC, Kernel::token(ppo), params, offline || pulled)?;
    built.denominator = Denominator::Tokens;
    Ok(match offline {
        true => built.without(Need::OldLogps),
        false => built,
    })
}

#[derive(Debug)]
struct PpoClip {
    clip: Clip,
    offline: bool,
    kl_weight: f64,
}

impl PpoClip {
    fn ratio(&self, token: &Token) -> Dual<1> {
        match self.offline {
            true => (token.perceived - token.ref_logp).exp_capped(),
            false => policy_gradient::ratio(token),
        }
    }
}

impl TokenFormula for PpoClip {
    fn value(&self, token: &Token) -> Dual<1> {
        let surrogate = self.clip.surrogate(self.ratio(token), token.advantage);
        match self.kl_weight > 0.0 {
            true => surrogate + self.kl_weight * (token.logp - token.ref_logp),
            false => surrogate,
        }
    }

    fn clipped(&self, token: &Token) -> bool {
        self.clip.cuts(self.ratio(token).value, token.advantage)
    }
}
