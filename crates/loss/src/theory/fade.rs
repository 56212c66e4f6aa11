//! How a loss's slope fades away from where it learns (arXiv 2402.01306, proposition 4.1).
//!
//! KTO's slope is symmetric about the reference point: an answer that the policy finds far too unlikely pulls as little as one
//! that it has learnt. A margin loss's slope fades on the right side only.

use alloc::vec::Vec;

use super::{larger, of_rows, pair, plain, row};
use crate::error::Error;
use crate::example::Label;
use crate::loss::Loss;
use crate::saturation::{self, Bounds, TOLERANCE, Zone};

/// A loss at one place.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Slope {
    /// Nats on the loss's axis: s(r − z₀) of a row; r_w of a pair whose r_l is 0, which is its margin.
    pub place: f64,
    /// The loss there.
    pub value: f64,
    /// dL/dlogp of the row, or of the pair's chosen row, before normalisation.
    pub slope: f64,
    /// |slope| over the steepest that the label's rows have anywhere; `None` for a loss without a steepest, for a weighted sum (its
    /// bounds are the first term's alone), and for a label whose weight is 0.
    pub share: Option<f64>,
    /// On which side of the bounds that is.
    pub zone: Zone,
}

/// How alike the slopes on both sides of 0 are.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Symmetry {
    /// The largest | |slope(+x)| − |slope(−x)| | over the larger of the two: 0 is symmetric, 1 is all on one side.
    pub worst: f64,
    /// The x where that is.
    pub at: f64,
}

/// The loss at each place, and its bounds at the tolerance; `label` is a row's, a pair has both. Completions have one token, and
/// all reference points are 0.
///
/// # Errors
/// A tolerance outside 0 to 1; a loss that reads more than rows or pairs; a place that is not finite.
pub fn slopes(
    loss: &Loss,
    label: Label,
    places: &[f64],
    tolerance: f64,
) -> Result<(Bounds, Vec<Slope>), Error> {
    of_rows(loss)?;
    let bounds = saturation::bounds(loss, tolerance)?;
    let steepest = bounds.max_slope.filter(|_| loss.parts().len() == 1);
    let steepest = steepest.map(|slope| slope * lighter(loss, label));
    let steepest = steepest.filter(|slope| *slope > 0.0);
    let at = |&place: &f64| {
        let (value, slope) = one(loss, label, place)?;
        Ok(Slope {
            place,
            value,
            slope,
            share: steepest.map(|steepest| slope.abs() / steepest),
            zone: bounds.zone(place),
        })
    };
    let slopes = places.iter().map(at).collect::<Result<_, Error>>()?;
    Ok((bounds, slopes))
}

/// Proposition 4.1, measured at x and −x for each of `places`.
///
/// # Errors
/// As [`slopes`].
pub fn symmetry(loss: &Loss, label: Label, places: &[f64]) -> Result<Symmetry, Error> {
    let mirrored: Vec<f64> = places.iter().flat_map(|x| [*x, -*x]).collect();
    let (_, slopes) = slopes(loss, label, &mirrored, TOLERANCE)?;
    let mut symmetry = Symmetry {
        worst: 0.0,
        at: 0.0,
    };
    for [right, left] in slopes.as_chunks::<2>().0 {
        let (a, b) = (right.slope.abs(), left.slope.abs());
        let (difference, whole) = ((a - b).abs(), larger(a, b));
        if whole > 0.0 && difference / whole > symmetry.worst {
            symmetry = Symmetry {
                worst: difference / whole,
                at: right.place,
            };
        }
    }
    Ok(symmetry)
}

fn one(loss: &Loss, label: Label, place: f64) -> Result<(f64, f64), Error> {
    let result = match loss.rows_per_unit() {
        2 => plain(loss, &pair(place, 0.0))?,
        _ => plain(loss, &[row(label.sign() * place, label)])?,
    };
    Ok((result.values[0], result.dlogps[0]))
}

/// The label's weight over the heavier of the two, which the bounds' steepest slope is of.
fn lighter(loss: &Loss, label: Label) -> f64 {
    let weight = |name| match loss.param(name) {
        Some(crate::params::ParamValue::Number(weight)) => *weight,
        _ => 1.0,
    };
    let (d, u) = (weight("desirable_weight"), weight("undesirable_weight"));
    let own = if label == Label::Desirable { d } else { u };
    let heavier = larger(d, u);
    if heavier > 0.0 { own / heavier } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    fn loss(name: &str) -> Loss {
        Loss::new(name, &Params::new()).unwrap()
    }

    #[test]
    fn kto_fades_on_both_sides_alike_and_dpo_on_one() {
        let places = [0.5, 3.0, 20.0, 59.0, 120.0];
        for label in [Label::Desirable, Label::Undesirable] {
            let kto = symmetry(&loss("kto"), label, &places).unwrap();
            assert!(kto.worst < 1e-14, "{kto:?}");
        }
        let dpo = symmetry(&loss("dpo"), Label::Desirable, &places).unwrap();
        assert!(dpo.worst > 0.99 && dpo.at == 120.0, "{dpo:?}");
    }

    #[test]
    fn at_the_bounds_the_slope_is_the_tolerance_of_the_steepest() {
        let weighted = loss("kto").with("desirable_weight", 3.0).unwrap();
        // handbook 5, β = .1
        for (loss, tolerance, learnt) in [
            (loss("kto"), 0.01, 59.8644569),
            (loss("kto"), 0.05, 43.5654442),
            (weighted, 0.1, 36.3689292),
            (loss("dpo"), 0.01, 45.9511985),
            (loss("dpo"), 0.05, 29.4443898),
            (loss("dpo"), 0.1, 21.9722458),
        ] {
            for label in [Label::Desirable, Label::Undesirable] {
                let (bounds, found) = slopes(&loss, label, &[learnt], tolerance).unwrap();
                assert!((bounds.learnt.unwrap() - learnt).abs() < 5e-8);
                let share = found[0].share.unwrap();
                assert!((share / tolerance - 1.0).abs() < 1e-8, "{loss} {share}");
            }
        }
    }

    #[test]
    fn a_share_is_of_a_steepest_that_there_is() {
        let share = |loss: &Loss, label| slopes(loss, label, &[0.0], 0.01).unwrap().1[0].share;
        let unheard = loss("kto").with("desirable_weight", 0.0).unwrap();
        assert_eq!(share(&unheard, Label::Desirable), None, "not 0 / 0");
        assert_eq!(share(&unheard, Label::Undesirable), Some(1.0));
        let sum = loss("kto + 0.5*sft");
        assert_eq!(
            share(&sum, Label::Desirable),
            None,
            "the likelihood's slope is beside the bounds"
        );
    }

    #[test]
    fn a_row_stands_on_its_zone() {
        let (bounds, found) = slopes(
            &loss("kto"),
            Label::Undesirable,
            &[-100.0, 0.0, 100.0],
            0.01,
        )
        .unwrap();
        assert!(bounds.given_up.is_some());
        let zones: Vec<Zone> = found.iter().map(|slope| slope.zone).collect();
        assert_eq!(zones, [Zone::GivenUp, Zone::Active, Zone::Learnt]);
        assert!((found[1].slope - 0.025).abs() < 1e-16 && found[1].share == Some(1.0));
    }
}
