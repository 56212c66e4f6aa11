//! Curves and bounds of a loss on an axis of nats: of a pair's whole margin also where the loss divides by tokens, so that losses of one
//! unit can be laid over each other.

use halo_loss::curve::Curve;
use halo_loss::value::Value;
use halo_loss::{Label, Loss};

use crate::json::Json;

/// The curve at each place, flat: losses, then dL/dx, then dL/d ln π of the (chosen) answer; NaN where there is none.
///
/// # Errors
/// Those of [`Curve::new`].
pub fn curve(loss: &Loss, label: Label, tokens: u32, places: &[f64]) -> Result<Vec<f64>, String> {
    let curve = Curve::new(loss, tokens).map_err(|e| e.to_string())?;
    let n = places.len();
    let mut out = vec![f64::NAN; 3 * n];
    for (index, place) in places.iter().enumerate() {
        // a place without a log-probability, or where the loss overflows, is left out of a drawing
        if let Ok(Some(point)) = curve.at(place / curve.scale(), label) {
            out[index] = point.value;
            out[n + index] = point.along / curve.scale();
            out[2 * n + index] = point.slope;
        }
    }
    Ok(out)
}

/// A bare value function at each place, flat: v, then v′.
///
/// # Errors
/// An unknown name.
pub fn value(
    name: &str,
    alpha: f64,
    loss_aversion: f64,
    places: &[f64],
) -> Result<Vec<f64>, String> {
    let value = Value::named(name, alpha, loss_aversion).map_err(|e| e.to_string())?;
    let points = places.iter().map(|u| value.at(*u));
    let (mut values, slopes): (Vec<f64>, Vec<f64>) = points.unzip();
    values.extend(slopes);
    Ok(values)
}

/// How a loss lets go, as JSON; places in nats.
///
/// # Errors
/// Those of [`Curve::new`], a tolerance outside 0 to 1.
pub fn saturation(loss: &Loss, tokens: u32, tolerance: f64) -> Result<String, String> {
    let text = |error: halo_loss::Error| error.to_string();
    let curve = Curve::new(loss, tokens).map_err(text)?;
    let (kind, bounds, target) = curve.saturation(tolerance).map_err(text)?;
    let (low, high) = curve.range(&bounds);
    let scale = curve.scale();
    let nats = |place: Option<f64>| place.map(|place| place * scale);
    Ok(Json::object(|json| {
        json.text("kind", kind.name());
        json.maybe("learnt", nats(bounds.learnt));
        json.maybe("givenUp", nats(bounds.given_up));
        json.maybe("target", nats(target));
        json.maybe("steepest", bounds.max_slope.map(|slope| slope / scale));
        json.flag("perToken", scale != 1.0);
        json.text("formula", bounds.formula);
        json.numbers("range", [low * scale, high * scale]);
        json.text("compared", curve.compared_with());
        json.text("axis", curve.axis());
    }))
}
