//! What can be wrong with a parameter, kind by kind, as calls of the harness in crates/ffi/tests/c/gate.h.

mod records;

use std::fmt::Write;

use serde_json::Value;

use super::arguments::{Kind, Source};
use crate::header::items::{bare, list, word};

/// Lengths that no memory has; twice the first one wraps around.
const TOO_MANY: [&str; 2] = ["SIZE_MAX / 2", "SIZE_MAX"];

/// The test of one function.
pub(super) fn of(source: &Source, text: &mut String, function: &Value) {
    let name = word(function, "name");
    // What this build does not have refuses valid calls, too.
    let absent = word(function, "doc").contains("\"session\"");
    let demanded = match (source.complete(function), absent) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    };
    let _ = write!(
        text,
        "static int valid_{name};\nstatic void test_{name}(void) {{\n  args_{name} a;\n  fixture_open();\n  fill_{name}(&a);\n  gate_function(\"{name}\", 1);\n\
           valid_{name} = works(call_{name}, &a, {demanded});\n  drop_{name}(&a);\n  fixture_close();\n  fixture_open();\n  gate_function(\"{name}\", valid_{name});\n"
    );
    for (at, param) in list(function, "params").enumerate() {
        let case = Case {
            source,
            function: name,
            param,
            at,
            params: &function["params"],
        };
        case.write(text);
    }
    let again = format!(
        "  fill_{name}(&a);\n  if (valid_{name}) accept(\"after all refusals\", call_{name}, &a);\n  drop_{name}(&a);\n"
    );
    text.push_str(&again);
    text.push_str("  fixture_close();\n}\n\n");
}

/// After a panic in its hands a handle refuses every function.
pub(super) fn poisoned(source: &Source, text: &mut String, functions: &[&Value]) {
    text.push_str("static void poisoned(void) {\n");
    for handle in list(source.api, "opaque").map(|handle| word(handle, "name")) {
        let sample = format!("SAMPLE_{handle}");
        if !source.samples.contains(&format!("#define {sample} ")) {
            continue;
        }
        let _ = writeln!(text, "  fixture_open();\n  poison({sample});");
        for function in functions {
            let name = word(function, "name");
            for (at, param) in list(function, "params").enumerate() {
                if source.kind(param) == Kind::Handle && bare(word(param, "type")).0 == handle {
                    let _ = writeln!(
                        text,
                        "  {{\n    args_{name} a;\n    fill_{name}(&a);\n    a.p_{} = {sample};\n    gate_function(\"{name}\", valid_{name});\n    refuse(\"poisoned {handle}\", call_{name}, &a, sizeof a, {at}, ONE(HALO_E_POISONED));\n  }}",
                        word(param, "name")
                    );
                }
            }
        }
        text.push_str("  fixture_close();\n");
    }
    text.push_str("}\n\n");
}

/// One parameter of one function.
struct Case<'a> {
    source: &'a Source<'a>,
    function: &'a str,
    param: &'a Value,
    at: usize,
    params: &'a Value,
}

impl Case<'_> {
    fn write(&self, text: &mut String) {
        let (it, kind) = (word(self.param, "name"), word(self.param, "type"));
        let required = self.param["null"] != true;
        let known = self.source.sample(self.function, self.param).is_some();
        let null = format!("a.p_{it} = NULL;");
        let misplaced = format!("a.p_{it} = MISPLACED({kind}, a.p_{it});");
        match self.source.kind(self.param) {
            Kind::Number | Kind::User => {}
            Kind::Text => {
                if required {
                    self.refuse(text, "is NULL", &null, "BAD_ARGUMENT");
                }
                self.refuse(
                    text,
                    "is not UTF-8",
                    &format!("a.p_{it} = \"k\\xff\";"),
                    "BAD_TEXT",
                );
            }
            Kind::Handle => {
                if required {
                    self.refuse(text, "is NULL", &null, "BAD_ARGUMENT");
                }
                if known {
                    self.refuse(text, "is misplaced", &misplaced, "BAD_LAYOUT");
                    let name = self.function;
                    let _ = writeln!(
                        text,
                        "  fill_{name}(&a);\n  if (hooks()) refuse_held((void *)(size_t)a.p_{it}, call_{name}, &a, sizeof a, {});",
                        self.at
                    );
                }
            }
            Kind::Owner => {
                if required {
                    self.refuse(text, "is NULL", &null, "BAD_ARGUMENT");
                }
                self.refuse(text, "is misplaced", &misplaced, "BAD_LAYOUT");
            }
            Kind::Record => {
                if required {
                    self.refuse(text, "is NULL", &null, "BAD_ARGUMENT");
                }
                self.refuse(text, "is misplaced", &misplaced, "BAD_LAYOUT");
                self.record(text);
            }
            Kind::Place => self.place(text, required, &null, &misplaced),
        }
    }

    /// Places for values, with or without a length beside them.
    fn place(&self, text: &mut String, required: bool, null: &str, misplaced: &str) {
        let base = bare(word(self.param, "type")).0;
        let aligned = !["void", "char", "int8_t", "uint8_t"].contains(&base);
        let len = word(self.param, "len");
        let counted = self
            .params
            .as_array()
            .into_iter()
            .flatten()
            .any(|param| word(param, "name") == len);
        let some = if counted {
            format!("if (a.p_{len} > 0) ")
        } else {
            String::new()
        };
        if required {
            self.refuse_if(text, &some, "is NULL", null, "BAD_ARGUMENT");
        }
        if aligned {
            self.refuse_if(text, &some, "is misplaced", misplaced, "BAD_LAYOUT");
        }
        if counted {
            for many in TOO_MANY {
                let name = self.function;
                let _ = writeln!(
                    text,
                    "  fill_{name}(&a);\n  a.p_{len} = {many};\n  refuse(\"{len} = {many}\", call_{name}, &a, sizeof a, ANY, BAD_LENGTH);"
                );
            }
        }
    }

    fn refuse(&self, text: &mut String, what: &str, spoil: &str, statuses: &str) {
        self.refuse_if(text, "", what, spoil, statuses);
    }

    fn refuse_if(
        &self,
        text: &mut String,
        condition: &str,
        what: &str,
        spoil: &str,
        statuses: &str,
    ) {
        let (it, name, at) = (word(self.param, "name"), self.function, self.at);
        let _ = writeln!(
            text,
            "  fill_{name}(&a);\n  {condition}{{\n    {spoil}\n    refuse(\"{it} {what}\", call_{name}, &a, sizeof a, {at}, {statuses});\n  }}"
        );
    }
}
