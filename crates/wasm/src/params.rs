//! Parameters as numbers in the order of the catalogue, and back.

use halo_loss::{Error, Loss, ParamKind, ParamValue, Params, find};

/// The loss of that name with these parameters; those missing at the end, and NaN, have their defaults.
///
/// # Errors
/// An unknown name; a number that is out of range or the index of no choice.
pub fn loss(name: &str, numbers: &[f64]) -> Result<Loss, String> {
    let text = |error: Error| error.to_string();
    let spec = find(name).map_err(text)?;
    let mut params = Params::new();
    for (param, &number) in spec.all_params().zip(numbers) {
        if number.is_nan() {
            continue;
        }
        let value = match param.kind {
            ParamKind::Number { .. } => ParamValue::Number(number),
            ParamKind::Flag { .. } => ParamValue::Flag(number != 0.0),
            ParamKind::Choice { choices, .. } => match choices.get(number as usize) {
                Some(choice) => ParamValue::Text((*choice).to_string()),
                None => return Err(format!("{name}: {} has no choice {number}", param.name)),
            },
        };
        params.set(param.name, value);
    }
    Loss::new(name, &params).map_err(text)
}

/// A parameter's value as the number that stands for it.
pub(crate) fn number(kind: &ParamKind, value: &ParamValue) -> f64 {
    match (kind, value) {
        (_, ParamValue::Number(x)) => *x,
        (_, ParamValue::Flag(flag)) => f64::from(u8::from(*flag)),
        (ParamKind::Choice { choices, .. }, ParamValue::Text(word)) => {
            let at = choices.iter().position(|choice| choice == word);
            at.map_or(f64::NAN, |at| at as f64)
        }
        (_, ParamValue::Text(_)) => f64::NAN,
    }
}
