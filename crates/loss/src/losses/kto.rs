//! Kahneman–Tversky optimisation: Ethayarajh et al. 2024, arXiv 2402.01306, equation 7 of the early text.
//!
//! L = λ_y · (c − v(u)), u = β · s · (r − z₀): value function × reference point × weights × reference, so that
//! the paper's ablations are parameters. Sums over completion tokens. z₀ is a constant of the step
//! (never differentiated). The early text writes w(y)(1 − v), the later λ_y − v: equal up to a constant.

use alloc::format;

use super::{Built, Formula, Kernel};
use crate::advice::{Fit, Stance, Trait};
use crate::dual::Dual;
use crate::error::Error;
use crate::example::{Label, Sequence};
use crate::modifiers;
use crate::params::Params;
use crate::reference_point::{self, Estimator, Source};
use crate::saturation::{Axis, Bounds};
use crate::spec::{self, DataShape, Need, ParamSpec, Preset, Spec};
use crate::value::{self, Value};

pub(super) static SPEC: Spec = Spec {
    name: "kto",
    title: "Kahneman-Tversky optimisation",
    shape: DataShape::Unpaired,
    needs: &[
        Need::Reference,
        Need::ReferencePoint,
        Need::Lengths,
        Need::TokenLogps,
    ],
    params: &[
        spec::beta(0.1),
        spec::DESIRABLE_WEIGHT,
        spec::UNDESIRABLE_WEIGHT,
        ParamSpec::choice(
            "value",
            "logistic",
            value::NAMES,
            "how gains and losses against the reference point are felt; log_sigmoid is the paper's concave, \
             identity its risk-neutral ablation",
        ),
        ParamSpec::number(
            "value_alpha",
            0.88,
            (1e-3, 1.0),
            "curvature of value=kahneman_tversky: 1 is linear",
        ),
        ParamSpec::number(
            "value_loss_aversion",
            2.25,
            (0.0, 1e3),
            "how much more losses count than gains under value=kahneman_tversky, for both labels",
        ),
        ParamSpec::choice(
            "reference_point",
            "mismatch",
            reference_point::NAMES,
            "how z0 is estimated; zero leaves it out",
        ),
        ParamSpec::choice(
            "reference_point_clamp",
            "auto",
            &["auto", "on", "off"],
            "whether a z0 below 0 counts as 0; auto: as the estimator has it",
        ),
        ParamSpec::number(
            "reference_point_decay",
            reference_point::DECAY,
            (0.0, 1.0),
            "what reference_point=ema keeps of its mean at each step",
        ),
        ParamSpec::number(
            "reference_point_window",
            reference_point::WINDOW,
            (1.0, 1e6),
            "how many of the newest rows reference_point=ring_buffer remembers",
        ),
        ParamSpec::choice(
            "reference_policy",
            "model",
            &["model", "uniform"],
            "uniform needs no reference model: r is ln pi and z0 its mean over mismatched answers, unclamped",
        ),
        modifiers::LENGTH_AVERAGE_PARAM,
    ],
    modifiers: modifiers::UNPAIRED,
    presets: &[
        Preset {
            name: "trl",
            values: &[("reference_point", "trl")],
        },
        Preset {
            name: "halos",
            values: &[("reference_point", "halos")],
        },
        Preset {
            name: "nemo",
            values: &[("reference_point", "clamp_first")],
        },
    ],
    formula: "L = lambda_y * (c - v(u)),  u = beta * s * (r - z0),  r = ln pi(y|x) - ln pi_ref(y|x);  \
              v = sigmoid(u) and c = 1 unless value says otherwise",
    paper: "Ethayarajh et al., KTO: Model Alignment as Prospect Theoretic Optimization, 2024, eq. 7",
    arxiv: "2402.01306",
    when_to_use: "Thumbs up and thumbs down, unpaired, imbalanced (weights), noisy: rows far on either side of z0 stop \
                  pulling. With clean pairs, dpo uses more of what they say.",
    implementations: "TRL: y' of x_i is y of the row before it in fixed micro-batches, averages micro-batch means, reports \
                      the clamped kl. HALOs: y of the next row, counts only non-zero log-ratios, reports rewards without \
                      beta. Here y' comes from another prompt of the whole step and sums are divided by its rows; kl is \
                      reported raw and clamped.",
    fits: FITS,
};

const FITS: &[Fit] = &[
    Fit {
        data: Trait::Binary,
        stance: Stance::For,
        strength: 3,
        reason: "it reads single judgements as they are: no pairs have to be made of them",
    },
    Fit {
        data: Trait::Imbalanced,
        stance: Stance::For,
        strength: 2,
        reason: "class weights balance the rarer label; the paper still beats DPO with 90 % of one class discarded",
    },
    Fit {
        data: Trait::ScarcePairs,
        stance: Stance::For,
        strength: 2,
        reason: "each answer of a pair is an example of its own, so few pairs give twice as many examples",
    },
    Fit {
        data: Trait::Noisy,
        stance: Stance::For,
        strength: 3,
        reason: "rows far on the wrong side stop pulling, so wrong and contradictory labels are given up, not learnt",
    },
    Fit {
        data: Trait::AbundantCleanPairs,
        stance: Stance::Against,
        strength: 2,
        reason: "taking clean pairs apart forgets which answer was compared with which",
    },
    Fit {
        data: Trait::FineComparisons,
        stance: Stance::Against,
        strength: 3,
        reason: "it judges answers one by one, and gives hard cases up that a comparison would teach",
    },
];

pub(super) fn build(params: &Params) -> Result<Built, Error> {
    let uniform = params.text("reference_policy")? == "uniform";
    let length_average = params.flag("length_average")?;
    let mut estimator = estimator(params.text("reference_point")?, uniform)?
        .length_average(length_average)
        .memory(
            params.number("reference_point_decay")?,
            params.number("reference_point_window")?,
        );
    match params.text("reference_point_clamp")? {
        "on" => estimator = estimator.clamp(true),
        "off" => estimator = estimator.clamp(false),
        _ => {}
    }
    let mut kto = Kto::new(Value::new(params)?, params)?
        .weighted(params)?
        .length_average(length_average);
    kto.uniform = uniform;
    Ok(kto.built(&SPEC, estimator))
}

/// Without a reference model there is no log-ratio to estimate, and the clamp at 0 would always fire:
/// `mismatch` then means the unclamped mean of ln π over the same rows.
fn estimator(name: &str, uniform: bool) -> Result<Estimator, Error> {
    let refuse = |why: &str| {
        let message = format!("reference_point = {name} does not go with reference_policy = {why}");
        Err(Error::parameter("reference_point", message))
    };
    match (uniform, name) {
        (true, "mismatch") => Estimator::new("uniform"),
        (true, "uniform" | "zero") => Estimator::new(name),
        (true, _) => refuse("uniform, which allows mismatch, uniform or zero"),
        (false, "uniform") => refuse("model: it is the mean of ln pi, not of a log-ratio"),
        (false, _) => Estimator::new(name),
    }
}

/// The formula, for other losses that are it with some of its parameters fixed.
#[derive(Debug)]
pub(super) struct Kto {
    beta: f64,
    desirable_weight: f64,
    undesirable_weight: f64,
    value: Value,
    uniform: bool,
    length_average: bool,
}

impl Kto {
    /// Sums against a reference model, every row with weight 1.
    pub(super) fn new(value: Value, params: &Params) -> Result<Kto, Error> {
        Ok(Kto {
            beta: params.number("beta")?,
            desirable_weight: 1.0,
            undesirable_weight: 1.0,
            value,
            uniform: false,
            length_average: false,
        })
    }

    /// The same with class weights.
    pub(super) fn weighted(mut self, params: &Params) -> Result<Kto, Error> {
        self.desirable_weight = params.number("desirable_weight")?;
        self.undesirable_weight = params.number("undesirable_weight")?;
        Ok(self)
    }

    /// The same on log-ratios per token, or not.
    pub(super) fn length_average(mut self, length_average: bool) -> Kto {
        self.length_average = length_average;
        self
    }

    /// The loss, with what it needs of all that its spec says.
    pub(super) fn built(self, spec: &Spec, estimator: Estimator) -> Built {
        let (uniform, length_average) = (self.uniform, self.length_average);
        let mut built = Built::new(spec, Kernel::row(self));
        built.needs.retain(|need| match need {
            Need::Reference => !uniform,
            Need::ReferencePoint => estimator.source() != Source::None,
            Need::TokenLogps => estimator.per_token(),
            Need::Lengths => length_average,
            _ => true,
        });
        built.reference_point = Some(estimator);
        built
    }

    /// r in nats: against the reference, or ln π itself; per token if asked.
    fn log_ratio(&self, row: &Sequence<1>) -> Dual<1> {
        let sum = if self.uniform {
            row.logp
        } else {
            row.log_ratio()
        };
        if self.length_average {
            sum / row.tokens
        } else {
            sum
        }
    }

    /// s(r − z₀): how far on the right side of the reference point, nats.
    fn gain(&self, row: &Sequence<1>) -> Dual<1> {
        row.label.sign() * (self.log_ratio(row) - row.z0)
    }
}

impl Formula<1> for Kto {
    fn value(&self, [row]: &[Sequence<1>; 1]) -> Dual<1> {
        let weight = match row.label {
            Label::Desirable => self.desirable_weight,
            Label::Undesirable => self.undesirable_weight,
        };
        let beta = self.beta * row.beta_scale;
        weight * self.value.shortfall(beta * self.gain(row))
    }

    fn reward(&self, row: &Sequence<1>) -> f64 {
        if self.uniform {
            0.0
        } else {
            self.beta * row.beta_scale * self.log_ratio(row).value
        }
    }

    fn progress(&self, [row]: &[Sequence<1>; 1]) -> f64 {
        self.gain(row).value
    }

    fn bounds(&self, tolerance: f64) -> Bounds {
        let bounds = Bounds::of(Axis::Gain, self.value, self.beta, tolerance);
        let heavier = match self.desirable_weight > self.undesirable_weight {
            true => self.desirable_weight,
            false => self.undesirable_weight,
        };
        Bounds {
            max_slope: bounds.max_slope.map(|slope| slope * heavier),
            ..bounds
        }
    }

    fn clipped(&self, [row]: &[Sequence<1>; 1]) -> bool {
        self.value.clips(self.beta * row.beta_scale * self.gain(row).value)
    }
}
