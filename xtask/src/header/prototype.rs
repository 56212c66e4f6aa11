//! Declarations of C, written back from the description of the interface: what bindings that read C are given.

use serde_json::Value;

use super::items::{list, word};

/// `halo_status halo_loss_new(const char *name, .., halo_error *err)`.
pub(super) fn function(function: &Value) -> String {
    let mut params: Vec<String> = list(function, "params")
        .map(|param| named(word(param, "type"), word(param, "name")))
        .collect();
    if function["fallible"] == true {
        params.push("halo_error *err".into());
    }
    format!(
        "{}({})",
        named(word(function, "returns"), word(function, "name")),
        joined(&params)
    )
}

/// `int32_t (*halo_progress)(void *user, ..)`.
pub(super) fn callback(callback: &Value) -> String {
    let params: Vec<String> = list(callback, "params")
        .map(|param| named(word(param, "type"), word(param, "name")))
        .collect();
    format!(
        "{}({})",
        named(
            word(callback, "returns"),
            &format!("(*{})", word(callback, "name"))
        ),
        joined(&params)
    )
}

/// Without parameters C says so.
fn joined(params: &[String]) -> String {
    match params.is_empty() {
        true => "void".into(),
        false => params.join(", "),
    }
}

/// `const char *name`, `char site[64]`.
pub(super) fn named(kind: &str, name: &str) -> String {
    match kind.split_once('[') {
        Some((element, len)) => format!("{element} {name}[{len}"),
        None if kind.ends_with('*') || name.is_empty() => format!("{kind}{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Whether any function, callback or struct speaks of a type that is not the interface's own.
pub(super) fn mentions(api: &Value, kind: &str) -> bool {
    let of = |value: &Value| word(value, "type").contains(kind);
    ["functions", "callbacks"]
        .iter()
        .flat_map(|key| list(api, key))
        .any(|function| list(function, "params").any(of))
        || list(api, "structs").any(|record| list(record, "fields").any(of))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_declaration_comes_back_as_c_has_it() {
        let new = json!({"name": "halo_x_new", "returns": "halo_status", "fallible": true, "params": [
            {"name": "json", "type": "const char *"}, {"name": "sizes", "type": "int64_t[2]"}, {"name": "out", "type": "halo_x **"},
        ]});
        assert_eq!(
            function(&new),
            "halo_status halo_x_new(const char *json, int64_t sizes[2], halo_x **out, halo_error *err)"
        );
        let text =
            json!({"name": "halo_y", "returns": "const char *", "fallible": false, "params": []});
        assert_eq!(function(&text), "const char *halo_y(void)");
        let call = json!({"name": "halo_f", "returns": "int32_t", "params": [{"name": "user", "type": "void *"}]});
        assert_eq!(callback(&call), "int32_t (*halo_f)(void *user)");
        assert!(mentions(&json!({"callbacks": [call]}), "void"));
    }
}
