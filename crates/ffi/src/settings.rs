//! Settings as JSON objects: an unknown key is refused with the nearest known one.

use std::ffi::c_char;

use serde::de::DeserializeOwned;

use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::status::*;

/// The settings in an argument; NULL or "" = all defaults.
///
/// # Errors
/// Not JSON; a key that is none; a value of another type.
pub(crate) fn read<T: DeserializeOwned + Default>(
    host: &Host,
    argument: usize,
    name: &'static str,
    json: *const c_char,
) -> Outcome<T> {
    match host.optional_text(argument, name, json)? {
        None => Ok(T::default()),
        Some(text) => parse(name, text).map_err(|failure| failure.argument(argument)),
    }
}

/// The same from a text.
///
/// # Errors
/// As [`read`].
pub(crate) fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Outcome<T> {
    serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let unknown = said.starts_with("unknown field");
        let code = match error.is_data() {
            true if unknown => HALO_E_NOT_FOUND,
            true => HALO_E_INVALID_ARGUMENT,
            false => HALO_E_FORMAT,
        };
        let message = match nearest(&said).filter(|_| unknown) {
            // first, because a long list of the known ones may be cut
            Some(nearest) => format!("did you mean {nearest:?}? {name}: {said}"),
            None => format!("{name}: {said}"),
        };
        Failure::new(code, name, message)
    })
}

/// The known key nearest to the one that serde refused: it writes names in backticks, the refused one first.
fn nearest(said: &str) -> Option<&str> {
    let names: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    let (refused, known) = names.split_first()?;
    ::halo_loss::nearest(refused, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Some {
        #[allow(dead_code, reason = "only its name and type are looked at")]
        learning_rate: f64,
        #[allow(dead_code, reason = "only its name and type are looked at")]
        seed: u64,
    }

    #[test]
    fn a_wrong_key_a_wrong_value_and_no_json_differ() {
        let failed = |text| parse::<Some>("config_json", text).unwrap_err();
        let unknown = failed("{\"learning_rte\": 1}");
        assert_eq!(unknown.code(), HALO_E_NOT_FOUND);
        let said = format!("{unknown:?}");
        assert!(
            said.contains("did you mean \\\"learning_rate\\\"?"),
            "{said}"
        );
        assert_eq!(failed("{\"seed\": -1}").code(), HALO_E_INVALID_ARGUMENT);
        assert_eq!(failed("{\"seed\": ").code(), HALO_E_FORMAT);
    }
}
