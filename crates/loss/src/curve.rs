//! A loss along the one axis that it has: what moves on it, how far to look, and value and slope at a place. What plots and pages
//! draw.
//!
//! A row moves by its log-ratio, a pair by its margin (half of it is the chosen answer's rise, half the rejected one's fall), a
//! likelihood by itself, a token by its log-ratio to the policy that sampled it. All completions have the same length, from −1 nat
//! per token before anything moves, and all reference points are 0: places count from them.

use alloc::vec;
use alloc::vec::Vec;

use crate::error::Error;
use crate::evaluate::{Normalizer, evaluate};
use crate::example::{Batch, Label, Row, Tokens};
use crate::loss::Loss;
use crate::params::ParamValue;
use crate::saturation::{Bounds, bounds};
use crate::spec::{DataShape, Need};

/// What moves along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One completion's ln π.
    Likelihood,
    /// A judged row's r − z₀.
    Row,
    /// A judged row's mean r over tokens − z₀.
    RowPerToken,
    /// The margin of a pair.
    Pair,
    /// The margin of a pair's means over tokens.
    PairPerToken,
    /// A token's log-ratio to the sampling policy, for an advantage of 1 (desirable) and of −1.
    Token,
}

/// What a loss is at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The loss of one row or pair.
    pub value: f64,
    /// dL/d ln π of the row, or of the pair's chosen row.
    pub slope: f64,
    /// dL/d place: the same for a row; of a pair what the two rows' slopes make together.
    pub along: f64,
}

/// How a loss lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saturation {
    /// On both sides: it learns, and it gives up.
    TwoSided,
    /// On the right side, more and more.
    Right,
    /// On the right side, at once and wholly.
    Exact,
    /// Nowhere; it has a place where it rests, and pulls back beyond.
    Target,
    /// Nowhere.
    Never,
}

impl Saturation {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Saturation::TwoSided => "two-sided",
            Saturation::Right => "right",
            Saturation::Exact => "exact",
            Saturation::Target => "target",
            Saturation::Never => "none",
        }
    }
}

/// A loss on its axis.
#[derive(Clone, Debug)]
pub struct Curve {
    loss: Loss,
    kind: Kind,
    tokens: u32,
}

impl Curve {
    /// With completions of so many tokens.
    ///
    /// # Errors
    /// No tokens.
    pub fn new(loss: &Loss, tokens: u32) -> Result<Curve, Error> {
        if tokens == 0 {
            return Err(Error::parameter("tokens", "tokens = 0 is not at least 1"));
        }
        Ok(Curve {
            kind: kind(loss, tokens)?,
            loss: loss.clone(),
            tokens,
        })
    }

    /// What moves.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Nats (of one completion, or of the margin) in one unit of the axis.
    pub fn scale(&self) -> f64 {
        match self.kind {
            Kind::RowPerToken | Kind::PairPerToken => f64::from(self.tokens),
            _ => 1.0,
        }
    }

    /// What is counted: `nats`, `scores`, `errors`, or the `ratio` of one token in nats. Curves of one unit share an axis.
    pub fn unit(&self) -> &'static str {
        match self.kind {
            _ if self.loss.needs(Need::Scores) => "scores",
            _ if self.loss.needs(Need::Errors) => "errors",
            Kind::Token => "ratio",
            _ => "nats",
        }
    }

    /// The axis in words and letters.
    pub fn axis(&self) -> &'static str {
        let errors = self.loss.needs(Need::Errors);
        match (self.kind, self.loss.needs(Need::Reference)) {
            _ if self.loss.needs(Need::Scores) => "margin of scores f_w − f_l",
            (Kind::Likelihood, _) => "ln π(y|x), nats",
            (Kind::Token, _) => "log-ratio ln π − ln π_old, nats",
            (Kind::Row, _) if errors => "r − z0, r = e_ref − e (errors)",
            (Kind::Row, _) => "r − z0, nats",
            (Kind::RowPerToken, _) => "r/n − z0, nats per token",
            (Kind::Pair, _) if errors => "margin r_w − r_l, r = e_ref − e (errors)",
            (Kind::Pair, true) => "margin r_w − r_l, nats",
            (Kind::Pair, _) => "margin ln π_w − ln π_l, nats",
            (Kind::PairPerToken, true) => "margin (r/n)_w − (r/n)_l, nats per token",
            (Kind::PairPerToken, _) => "margin a_w − a_l, a = ln π / n, nats per token",
        }
    }

    /// What a place of 0 is: what an answer is compared with.
    pub fn compared_with(&self) -> &'static str {
        let reference = self.loss.needs(Need::Reference);
        match self.kind {
            Kind::Likelihood => "certainty: ln π = 0",
            Kind::Token => "the policy that sampled the token",
            Kind::Row | Kind::RowPerToken if self.loss.needs(Need::ReferencePoint) => {
                "z₀, an estimate of the KL divergence"
            }
            Kind::Row | Kind::RowPerToken => "the reference model itself, z₀ = 0",
            Kind::Pair if self.loss.needs(Need::Scores) => "the rejected answer’s score",
            Kind::Pair if self.loss.needs(Need::Errors) => "the rejected image’s error",
            Kind::Pair if reference => "the rejected answer’s log-ratio",
            Kind::Pair => "the rejected answer’s log-likelihood",
            Kind::PairPerToken if reference => "the rejected answer’s log-ratio per token",
            Kind::PairPerToken => "the rejected answer’s mean log-likelihood",
        }
    }

    /// Where to look, in units of the axis: far enough to see the zones, or the whole bend of a loss without.
    pub fn range(&self, bounds: &Bounds) -> (f64, f64) {
        let number = |name| number(&self.loss, name);
        let half = match (self.kind, bounds.learnt, bounds.given_up) {
            (Kind::Likelihood, ..) => return (-60.0, 0.0),
            (Kind::Token, ..) => {
                let clips = [
                    number("clip_high").map(|x| 2.5 * libm::log1p(x)),
                    number("ratio_high").map(|x| 1.4 * libm::log(x)),
                    number("cap").map(|x| 1.4 * libm::log(x)),
                ];
                clips.into_iter().flatten().fold(0.0, larger)
            }
            (_, None, None) => 5.0 / scale(&self.loss),
            (_, learnt, given_up) => {
                let far = |bound: Option<f64>| bound.map_or(0.0, f64::abs);
                1.35 * larger(far(learnt), far(given_up))
            }
        };
        // three digits, whatever the last bit of a logarithm
        let half = alloc::format!("{half:.2e}").parse().unwrap_or(half);
        // a log-probability ends at 0, and begins at −1 per token: half of the margin is left to the chosen answer
        let ends = match (self.unit(), self.loss.needs(Need::Reference)) {
            ("nats", false) => 1.96 * f64::from(self.tokens) / self.scale(),
            _ => f64::INFINITY,
        };
        let half = if half > ends { ends } else { half };
        (-half, half)
    }

    /// Value and slopes at a place, for a row of this label or a token with an advantage of its sign; `None` where no
    /// log-probability can be: above 0.
    ///
    /// # Errors
    /// A place that is not finite, or where the loss overflows.
    pub fn at(&self, place: f64, label: Label) -> Result<Option<Point>, Error> {
        let rows = self.rows(place, label);
        let free = !self.loss.needs(Need::Reference) && self.unit() == "nats";
        if free && rows.iter().any(|row| row.logp > 0.0) {
            return Ok(None);
        }
        let (logps, others) = ([rows[0].logp], [rows[0].ref_logp]);
        let tokens = match self.loss.per_token() {
            true => Tokens {
                logps: &logps,
                ref_logps: &others,
                old_logps: &others,
                ..Tokens::default()
            },
            false => Tokens::default(),
        };
        let batch = Batch {
            rows: &rows,
            tokens,
        };
        let result = evaluate(&self.loss, batch, &Normalizer::of(&self.loss, &rows))?;
        let slopes = match result.token_dlogps.is_empty() {
            true => &result.dlogps,
            false => &result.token_dlogps,
        };
        let slope = slopes.first().copied().unwrap_or_default();
        let along = match slopes.as_slice() {
            [chosen, rejected] => self.scale() * (chosen - rejected) / 2.0,
            _ => self.scale() * slope,
        };
        Ok(Some(Point {
            value: result.loss,
            slope,
            along,
        }))
    }

    /// How it lets go at a tolerance, and where it rests, if anywhere: in units of the axis.
    ///
    /// # Errors
    /// A tolerance outside 0 to 1.
    pub fn saturation(&self, tolerance: f64) -> Result<(Saturation, Bounds, Option<f64>), Error> {
        let bounds = bounds(&self.loss, tolerance)?;
        let target = self.target(&bounds)?;
        let kind = match (bounds.learnt, bounds.given_up) {
            (Some(_), Some(_)) => Saturation::TwoSided,
            (Some(learnt), None) => {
                let beyond = learnt + 1e-6 * (1.0 + learnt.abs());
                let rests = self.at(beyond, Label::Desirable)?;
                match rests.is_some_and(|point| point.along == 0.0) {
                    true => Saturation::Exact,
                    false => Saturation::Right,
                }
            }
            (None, _) if target.is_some() => Saturation::Target,
            (None, _) => Saturation::Never,
        };
        Ok((kind, bounds, target))
    }

    /// Where a desirable row or a pair is drawn to from both sides.
    fn target(&self, bounds: &Bounds) -> Result<Option<f64>, Error> {
        let (mut low, mut high) = self.range(bounds);
        let along = |place| -> Result<Option<f64>, Error> {
            let point = self.at(place, Label::Desirable)?;
            Ok(point.map(|point| point.along))
        };
        let (Some(left), Some(right)) = (along(low)?, along(high)?) else {
            return Ok(None);
        };
        if !(left < 0.0 && right > 0.0) {
            return Ok(None);
        }
        // 2^-64 of the way is beyond the digits of a place
        for _ in 0..64 {
            let middle = low + (high - low) / 2.0;
            match along(middle)? {
                Some(slope) if slope < 0.0 => low = middle,
                _ => high = middle,
            }
        }
        Ok(Some(high))
    }

    fn rows(&self, place: f64, label: Label) -> Vec<Row> {
        let start = match self.unit() {
            "scores" | "errors" => 0.0,
            _ => -f64::from(self.tokens),
        };
        let row = |logp: f64, label| Row {
            logp,
            ref_logp: start,
            tokens: self.tokens,
            label,
            ..Row::default()
        };
        match self.kind {
            Kind::Likelihood => vec![row(place, Label::Desirable)],
            Kind::Row | Kind::RowPerToken => vec![row(start + place * self.scale(), label)],
            Kind::Pair | Kind::PairPerToken => {
                let half = place * self.scale() / 2.0;
                vec![
                    row(start + half, Label::Desirable),
                    row(start - half, Label::Undesirable),
                ]
            }
            Kind::Token => vec![Row {
                logp: -1.0 + place,
                ref_logp: -1.0,
                old_logp: -1.0,
                tokens: 1,
                label,
                advantage: label.sign(),
                ..Row::default()
            }],
        }
    }
}

fn kind(loss: &Loss, tokens: u32) -> Result<Kind, Error> {
    let paired = loss.data_shape() == DataShape::Paired;
    if loss.needs(Need::Advantages) {
        return Ok(Kind::Token);
    }
    if loss.needs(Need::Scores) || loss.needs(Need::Errors) {
        return Ok(if paired { Kind::Pair } else { Kind::Row });
    }
    if !paired && !loss.needs(Need::Reference) {
        return Ok(Kind::Likelihood);
    }
    Ok(match (paired, averages(loss, tokens)?) {
        (true, false) => Kind::Pair,
        (true, true) => Kind::PairPerToken,
        (false, false) => Kind::Row,
        (false, true) => Kind::RowPerToken,
    })
}

/// Whether a loss reads means over tokens: such a one does not see that everything is twice as long.
fn averages(loss: &Loss, tokens: u32) -> Result<bool, Error> {
    let of = |times: f64| {
        let n = times * f64::from(tokens);
        let row = |mean: f64, label| Row {
            logp: mean * n,
            ref_logp: -n,
            tokens: n as u32,
            label,
            ..Row::default()
        };
        // where it bends, whatever its β
        let near = 0.2 / (scale(loss) * f64::from(tokens));
        let near = if near > 0.5 { 0.5 } else { near };
        let rows = [
            row(-1.0 + near / 2.0, Label::Desirable),
            row(-1.0 - near / 2.0, Label::Undesirable),
        ];
        let rows = &rows[..loss.rows_per_unit()];
        evaluate(loss, rows, &Normalizer::of(loss, rows)).map(|result| result.loss)
    };
    Ok((of(1.0)? - of(2.0)?).abs() < 1e-9)
}

/// What a loss multiplies its axis with.
fn scale(loss: &Loss) -> f64 {
    let scale = number(loss, "beta").or_else(|| number(loss, "tau"));
    scale.unwrap_or(1.0)
}

fn number(loss: &Loss, name: &str) -> Option<f64> {
    match loss.param(name) {
        Some(ParamValue::Number(x)) => Some(*x),
        _ => None,
    }
}

fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

#[cfg(test)]
mod tests;
