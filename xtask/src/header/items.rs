//! Looking into the description of the interface, as halo_api.json has it.

use serde_json::Value;

/// The items of a list that may be missing.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// The text of a key, or nothing.
pub(crate) fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// The item of a name.
pub(crate) fn find<'a>(api: &'a Value, key: &str, name: &str) -> Option<&'a Value> {
    list(api, key).find(|item| word(item, "name") == name)
}

/// The type without `const` and stars, and how many stars there are.
pub(crate) fn bare(kind: &str) -> (&str, usize) {
    let stars = kind.matches('*').count();
    let base = kind
        .trim_start_matches("const ")
        .split(" *")
        .next()
        .unwrap_or(kind);
    (base.split(" const").next().unwrap_or(base), stars)
}
