use super::*;
use crate::losses::registry;
use crate::params::Params;

fn every() -> impl Iterator<Item = Curve> {
    let of = |name: &&'static crate::Spec| {
        let loss = Loss::new(name.name, &Params::new()).unwrap();
        Curve::new(&loss, 100).unwrap()
    };
    registry().iter().map(of)
}

#[test]
fn the_slope_along_the_axis_is_the_values_difference() {
    // a surrogate of tokens may hold its ratio constant: its value is not what its slope is of
    for curve in every().filter(|curve| curve.kind() != Kind::Token) {
        let (_, bounds, _) = curve.saturation(0.01).unwrap();
        let (low, high) = curve.range(&bounds);
        for step in 1..20 {
            // off the places where a loss has a kink
            let place = low + (high - low) * (f64::from(step) + 0.0137) / 20.0;
            let h = 1e-6 * (high - low);
            for label in [Label::Desirable, Label::Undesirable] {
                let at = |place| curve.at(place, label).unwrap();
                let (Some(left), Some(point), Some(right)) =
                    (at(place - h), at(place), at(place + h))
                else {
                    continue;
                };
                let difference = (right.value - left.value) / (2.0 * h);
                let allowed = 1e-6 * (point.along.abs() + point.value.abs() / (high - low));
                assert!(
                    (difference - point.along).abs() <= allowed + 1e-9,
                    "{} at {place}: {difference} and {}",
                    curve.loss.name(),
                    point.along
                );
            }
        }
    }
}

#[test]
fn losses_let_go_as_their_papers_say() {
    let of = |name: &str, key: &str, value: f64| {
        let loss = Loss::new(name, &Params::new()).unwrap();
        let loss = loss.with(key, value).unwrap();
        Curve::new(&loss, 100).unwrap().saturation(0.01).unwrap()
    };
    let (kto, bounds, _) = of("kto", "beta", 0.1);
    assert_eq!(kto, Saturation::TwoSided);
    assert!((bounds.learnt.unwrap() - 59.8645).abs() < 5e-5);
    assert_eq!(of("dpo", "beta", 0.1).0, Saturation::Right);
    assert_eq!(of("hinge", "beta", 0.1).0, Saturation::Exact);
    let (ipo, _, target) = of("ipo", "tau", 0.1);
    assert_eq!(ipo, Saturation::Target);
    assert!((target.unwrap() - 5.0).abs() < 1e-9, "{target:?}");
    // ln((1 - q)/q) / beta at q = .1
    let (_, _, target) = of("cdpo", "label_smoothing", 0.1);
    assert!((target.unwrap() - 21.9722).abs() < 5e-5, "{target:?}");
}

#[test]
fn a_place_without_a_log_probability_has_no_point() {
    let simpo = Loss::new("simpo", &Params::new()).unwrap();
    let curve = Curve::new(&simpo, 10).unwrap();
    assert_eq!(curve.kind(), Kind::PairPerToken);
    assert!(curve.at(1.9, Label::Desirable).unwrap().is_some());
    assert!(curve.at(2.1, Label::Desirable).unwrap().is_none());
}

#[test]
fn an_averaged_row_counts_nats_per_token() {
    let kto = Loss::new("kto", &Params::new()).unwrap();
    let averaged = Curve::new(&kto.with("length_average", true).unwrap(), 10).unwrap();
    assert_eq!(averaged.kind(), Kind::RowPerToken);
    let whole = Curve::new(&kto, 10).unwrap();
    let at = |curve: &Curve| curve.at(7.0, Label::Desirable).unwrap().unwrap();
    assert!((at(&averaged).value - at(&whole).value).abs() < 1e-15);
    assert!((at(&averaged).along - at(&whole).along).abs() < 1e-15);
}
