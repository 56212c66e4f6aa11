//! Another divergence than the reverse KL between policy and reference: Wang et al. 2023, arXiv 2309.16240, table 1.
//!
//! The margin of DPO becomes g(r_w) − g(r_l) with g = f′(eʳ), constants left out. TRL caps alpha's exponent at 80 and nothing for
//! the forward KL; here both go on along the tangent, and the rows where they do are counted as clipped.

use super::Modifier;
use crate::dual::{Dual, EXPONENT_CAP};
use crate::error::Error;
use crate::example::Sequence;
use crate::params::Params;
use crate::spec::ParamSpec;

pub(crate) static MODIFIER: Modifier = Modifier {
    name: "f_divergence",
    meaning: "the divergence from the reference that the policy pays for (arXiv 2309.16240): each row's log-ratio r becomes g(r)",
    params: &[
        ParamSpec::choice(
            "f_divergence",
            "reverse_kl",
            &["reverse_kl", "forward_kl", "js", "alpha"],
            "reverse_kl: r; forward_kl: 1 - e^-r; js: ln 2 + ln sigmoid(r); alpha: (e^((alpha-1) r) - 1) / (alpha-1)",
        ),
        ParamSpec::number(
            "f_alpha",
            0.5,
            (-4.0, 4.0),
            "order of f_divergence=alpha; 1 is the reverse KL",
        ),
    ],
    needs: &[],
};

/// Which g.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Divergence {
    ReverseKl,
    ForwardKl,
    Js,
    Alpha(f64),
}

impl Divergence {
    pub(super) fn new(params: &Params) -> Result<Divergence, Error> {
        Ok(match params.text("f_divergence")? {
            "forward_kl" => Divergence::ForwardKl,
            "js" => Divergence::Js,
            "alpha" => Divergence::Alpha(params.number("f_alpha")?),
            _ => Divergence::ReverseKl,
        })
    }

    /// r := g(r).
    pub(super) fn apply<const N: usize>(self, row: &mut Sequence<N>) {
        if self != Divergence::ReverseKl {
            row.shaped = Some(self.of(row.log_ratio()));
        }
    }

    fn of<const N: usize>(self, r: Dual<N>) -> Dual<N> {
        match self {
            Divergence::ReverseKl => r,
            Divergence::ForwardKl => 1.0 - (-r).exp_capped(),
            Divergence::Js => r.log_sigmoid() + core::f64::consts::LN_2,
            Divergence::Alpha(alpha) => {
                let order = alpha - 1.0;
                match order == 0.0 {
                    true => r,
                    // the exponential is 1 at r = 0, and its difference from 1 keeps its digits there
                    false if (order * r.value).abs() < 1.0 => (order * r).exp_m1() / order,
                    false => ((order * r).exp_capped() - 1.0) / order,
                }
            }
        }
    }

    /// Whether the row's exponent is beyond the cap.
    pub(super) fn caps<const N: usize>(self, row: &Sequence<N>) -> bool {
        let r = row.log_ratio().value;
        match self {
            Divergence::ForwardKl => -r > EXPONENT_CAP,
            Divergence::Alpha(alpha) => (alpha - 1.0) * r > EXPONENT_CAP,
            _ => false,
        }
    }
}
