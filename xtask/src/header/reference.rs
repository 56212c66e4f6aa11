//! docs/c-api.md: the interface for readers, one section a noun.

mod words;

use serde_json::Value;

use super::items::{list, word};
use super::prototype;
use words::{cell, passing, prose, rules};

/// What a page must know beside the interface: the comment at the top of halo.h.
pub(super) fn page(api: &Value, header: &str) -> String {
    let mut page = Page {
        api,
        text: String::new(),
    };
    page.line(HEAD);
    page.rules(header);
    let nouns = page.nouns();
    page.contents(&nouns);
    page.constants("Statuses", is_status);
    page.noun("error");
    for noun in nouns {
        page.noun(&noun);
    }
    page.constants("Constants", |name| !is_status(name));
    page.callbacks();
    page.text
}

const HEAD: &str = "\
# The C interface

Generated from `crates/ffi` by `cargo xtask header`: do not edit. The same is in `include/halo.h` for compilers and in
`include/halo_api.json` for programs. C++ has `include/halo.hpp` on top of it.
";

/// Functions whose noun is no type of its own.
const LIBRARY: &str = "library";

struct Page<'a> {
    api: &'a Value,
    text: String,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Every rule as one paragraph.
    fn rules(&mut self, header: &str) {
        self.line("## Rules\n");
        self.line("They hold for every function, unless its own words say otherwise.\n");
        for (name, words) in rules(header) {
            self.line(&format!("- **{name}** {}", prose(&words)));
        }
    }

    fn contents(&mut self, nouns: &[String]) {
        self.line("\n## Functions\n");
        let api = self.api;
        for noun in nouns {
            let names: Vec<String> = list(api, "functions")
                .map(|function| word(function, "name"))
                .filter(|name| noun_of(api, name) == *noun)
                .map(|name| format!("[`{name}`](#{name})"))
                .collect();
            if !names.is_empty() {
                self.line(&format!("- {noun}: {}", names.join(", ")));
            }
        }
    }

    /// In the order in which their functions and structs are declared; the library as a whole comes first.
    fn nouns(&self) -> Vec<String> {
        let mut nouns = vec![LIBRARY.to_string()];
        for key in ["functions", "structs", "opaque"] {
            for item in list(self.api, key) {
                let noun = noun_of(self.api, word(item, "name"));
                if noun != "error" && !nouns.contains(&noun) {
                    nouns.push(noun);
                }
            }
        }
        nouns
    }

    /// A section: what it is, its structs, its functions.
    fn noun(&mut self, noun: &str) {
        let kind = format!("halo_{noun}");
        self.line(&match noun {
            LIBRARY => "\n## The library".to_string(),
            _ => format!("\n## {kind}"),
        });
        let api = self.api;
        for handle in list(api, "opaque").filter(|item| word(item, "name") == kind) {
            self.line(&format!(
                "\n{} A handle: freed by `{kind}_free`.",
                prose(word(handle, "doc"))
            ));
        }
        for record in list(api, "structs").filter(|item| noun_of(api, word(item, "name")) == noun) {
            self.record(record, &kind);
        }
        for function in
            list(api, "functions").filter(|item| noun_of(api, word(item, "name")) == noun)
        {
            self.function(function);
        }
    }

    fn record(&mut self, record: &Value, section: &str) {
        let name = word(record, "name");
        if name != section {
            self.line(&format!("\n### {name}"));
        }
        self.line(&format!("\n{}\n", prose(word(record, "doc"))));
        self.line("| field | type | |\n|---|---|---|");
        for field in list(record, "fields") {
            let length = match word(field, "len") {
                "" => String::new(),
                len => format!(" Length: `{len}`."),
            };
            self.line(&format!(
                "| `{}` | `{}` | {}{length} |",
                word(field, "name"),
                word(field, "type"),
                cell(word(field, "doc")),
            ));
        }
    }

    fn function(&mut self, function: &Value) {
        let name = word(function, "name");
        self.line(&format!("\n### {name}\n"));
        self.line(&format!("```c\n{};\n```\n", prototype::function(function)));
        self.line(&format!(
            "{} Since {}.",
            prose(word(function, "doc")),
            word(function, "since")
        ));
        let frees = name.ends_with("_free");
        if list(function, "params").next().is_some() && !frees {
            self.line("\n| parameter | |\n|---|---|");
            for param in list(function, "params") {
                self.line(&format!(
                    "| `{}` | {} |",
                    word(param, "name"),
                    passing(param)
                ));
            }
        }
    }

    fn constants(&mut self, title: &str, belongs: fn(&str) -> bool) {
        self.line(&format!(
            "\n## {title}\n\n| name | value | |\n|---|---|---|"
        ));
        let api = self.api;
        for constant in list(api, "constants").filter(|item| belongs(word(item, "name"))) {
            self.line(&format!(
                "| `{}` | {} | {} |",
                word(constant, "name"),
                constant["value"],
                cell(word(constant, "doc"))
            ));
        }
    }

    fn callbacks(&mut self) {
        let api = self.api;
        if list(api, "callbacks").next().is_some() {
            self.line("\n## Callbacks");
        }
        for callback in list(api, "callbacks") {
            self.line(&format!(
                "\n### {}\n\n```c\ntypedef {};\n```\n\n{}",
                word(callback, "name"),
                prototype::callback(callback),
                prose(word(callback, "doc"))
            ));
        }
    }
}

/// `loss` of `halo_loss_new` and `halo_loss_result`: the type that begins the name, if there is one.
fn noun_of(api: &Value, name: &str) -> String {
    let noun = name.split('_').nth(1).unwrap_or(LIBRARY);
    let kind = format!("halo_{noun}");
    let typed = ["structs", "opaque"]
        .iter()
        .any(|key| list(api, key).any(|item| word(item, "name") == kind));
    if typed { noun } else { LIBRARY }.to_string()
}

fn is_status(name: &str) -> bool {
    name == "HALO_OK" || name.starts_with("HALO_E_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_the_interface_is_on_the_page() {
        let folder = crate::shell::root().join(super::super::CRATE);
        let api = super::super::api::read(&folder)
            .expect("crates/ffi is read")
            .json();
        let header = std::fs::read_to_string(folder.join("header.h")).expect("header.h is read");
        let page = page(&api, &header);
        for (key, before) in [
            ("functions", "### "),
            ("constants", "| `"),
            ("structs", "# "),
        ] {
            for item in list(&api, key) {
                let name = word(item, "name");
                assert!(page.contains(&format!("{before}{name}")), "{name}");
            }
        }
        assert!(page.contains("- **T2** Callbacks run"));
        assert!(page.contains("halo_status halo_loss_new(const char *name, const char *params_json, halo_loss **out, halo_error *err);"));
        assert!(page.contains("the caller's to free with `halo_loss_free`"));
    }
}
