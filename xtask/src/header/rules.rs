//! What every declaration keeps to, so that every language can call it: names, types, places of fields.

use serde_json::Value;

use super::items::{bare, find, list, word};
use crate::shell::Outcome;

/// Numbers whose width C and every binding agree on; `long`, `bool` and enumerations are not among them.
const NUMBERS: &[&str] = &[
    "int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t",
    "size_t", "float", "double",
];

/// Types that only a pointer passes.
const BEHIND_POINTERS: &[&str] = &["char", "void", "DLTensor", "DLManagedTensorVersioned"];

/// # Errors
/// The first declaration that breaks a rule, named.
pub(super) fn check(api: &Value) -> Outcome {
    for function in list(api, "functions") {
        let name = word(function, "name");
        well_named(name)?;
        let within = |problem: String| format!("{name}: {problem}");
        match word(function, "returns") {
            "void" => {}
            returns => passed(api, returns).map_err(within)?,
        }
        for param in list(function, "params") {
            let problem = |problem: String| format!("{name}, {}: {problem}", word(param, "name"));
            passed(api, word(param, "type")).map_err(problem)?;
            sized(api, param).map_err(problem)?;
        }
    }
    for record in list(api, "structs") {
        for field in list(record, "fields") {
            let problem = |problem: String| {
                format!(
                    "{}.{}: {problem}",
                    word(record, "name"),
                    word(field, "name")
                )
            };
            stored(api, word(field, "type")).map_err(problem)?;
        }
    }
    Ok(())
}

/// Whether a struct says how long the host believes that it is.
pub(crate) fn extensible(record: &Value) -> bool {
    list(record, "fields").next().is_some_and(|field| {
        word(field, "name") == "struct_size" && word(field, "type") == "uint32_t"
    })
}

/// `halo_<noun>_<verb>`.
fn well_named(name: &str) -> Outcome {
    let parts: Vec<&str> = name.split('_').collect();
    let plain = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    match parts.len() >= 3 && parts[0] == "halo" && parts.iter().all(plain) {
        true => Ok(()),
        false => Err(format!("{name} is not named halo_<noun>_<verb>")),
    }
}

/// What a function takes and gives: numbers, names for numbers, functions, pointers; a struct never by value, since several
/// languages cannot pass one.
fn passed(api: &Value, kind: &str) -> Outcome {
    let (base, stars) = bare(kind);
    let number = NUMBERS.contains(&base) || find(api, "aliases", base).is_some();
    let ours = find(api, "opaque", base).is_some() || find(api, "structs", base).is_some();
    match stars {
        0 if number || find(api, "callbacks", base).is_some() => Ok(()),
        0 => Err(format!("{kind} cannot be passed by value")),
        _ if number || ours || BEHIND_POINTERS.contains(&base) => Ok(()),
        _ => Err(format!("{kind} is no type that every language knows")),
    }
}

/// A struct alone behind a pointer may grow, so it says its size; one of several has its size fixed for ever.
fn sized(api: &Value, param: &Value) -> Outcome {
    let (base, stars) = bare(word(param, "type"));
    match find(api, "structs", base) {
        Some(record)
            if stars == 1
                && base.starts_with("halo_")
                && extensible(record) == param.get("len").is_some() =>
        {
            Err(format!(
                "{base} must begin with struct_size if it stands alone, and must not as one of several"
            ))
        }
        _ => Ok(()),
    }
}

/// What a struct holds: also arrays of numbers, and structs that never grow: a nested struct that grew would move what follows.
fn stored(api: &Value, kind: &str) -> Outcome {
    let element = kind.split('[').next().unwrap_or(kind);
    match find(api, "structs", element) {
        Some(record) if extensible(record) => Err(format!(
            "{element} may grow, so it cannot stand inside another struct"
        )),
        Some(_) => Ok(()),
        None if element == "char" && element != kind => Ok(()),
        None => passed(api, element),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn api(function: Value) -> Value {
        let sized =
            json!({"name": "halo_batch", "fields": [{"name": "struct_size", "type": "uint32_t"}]});
        let frozen =
            json!({"name": "halo_str", "fields": [{"name": "data", "type": "const char *"}]});
        json!({"structs": [sized, frozen], "opaque": [{"name": "halo_loss"}], "functions": [function]})
    }

    fn function(name: &str, returns: &str, param: Value) -> Outcome {
        check(&api(
            json!({"name": name, "returns": returns, "params": [param]}),
        ))
    }

    #[test]
    fn what_every_language_can_call_passes() {
        for param in [
            json!({"name": "loss", "type": "const halo_loss *"}),
            json!({"name": "out", "type": "halo_loss **"}),
            json!({"name": "batch", "type": "const halo_batch *"}),
            json!({"name": "texts", "type": "const halo_str *", "len": "count"}),
            json!({"name": "values", "type": "const double *"}),
        ] {
            assert_eq!(function("halo_loss_try", "const char *", param), Ok(()));
        }
    }

    #[test]
    fn what_some_language_cannot_call_is_refused() {
        let number = || json!({"name": "count", "type": "size_t"});
        assert!(function("halo_try", "void", number()).is_err());
        assert!(function("halo_loss_Try", "void", number()).is_err());
        assert!(function("halo_loss_try", "bool", number()).is_err());
        for kind in ["halo_batch", "bool", "c_long", "halo_unknown *", "char"] {
            let param = json!({"name": "it", "type": kind});
            assert!(function("halo_loss_try", "void", param).is_err(), "{kind}");
        }
        let alone = json!({"name": "text", "type": "const halo_str *"});
        assert!(function("halo_loss_try", "void", alone).is_err());
        let several = json!({"name": "batches", "type": "const halo_batch *", "len": "count"});
        assert!(function("halo_loss_try", "void", several).is_err());
    }

    #[test]
    fn a_struct_that_may_grow_stands_in_no_other() {
        let mut api = api(json!({}));
        api["functions"] = json!([]);
        let field = json!({"name": "batch", "type": "halo_batch"});
        api["structs"][1]["fields"] = json!([field]);
        assert!(check(&api).is_err());
    }
}
