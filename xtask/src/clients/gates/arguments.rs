//! The program of bad arguments: every function, every parameter, everything that can be wrong with one of its kind. Written from
//! the description of the interface, so that a new function is tested on the day it is declared.

use std::fmt::Write;

use serde_json::Value;

use super::cases;
use crate::header::items::{bare, find, list, word};
use crate::header::rules::extensible;

/// The interface, and what the tests know of valid arguments.
pub(super) struct Source<'a> {
    pub(super) api: &'a Value,
    /// The text of samples.h.
    pub(super) samples: &'a str,
}

/// What a parameter is, which decides what can be wrong with it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Number,
    Text,
    Handle,
    /// A place for a new handle.
    Owner,
    /// A struct that begins with its size.
    Record,
    /// A pointer to one or several values.
    Place,
    /// A pointer that is given back to a callback: any bits are allowed.
    User,
}

/// The C source.
pub(super) fn program(api: &Value, samples: &str) -> String {
    let source = Source { api, samples };
    let mut text = String::from(
        "/* Generated from halo_api.json. */\n#include \"gate.h\"\n#include \"samples.h\"\n\n#define MISPLACED(type, at) ((type)(void *)((char *)(void *)(size_t)(at) + 1))\n\nstatic DLTensor spoiled;\nstatic int64_t shape[8], strides[8];\n\n",
    );
    let functions: Vec<&Value> = list(api, "functions").collect();
    let (fallible, others): (Vec<&Value>, Vec<&Value>) = functions
        .into_iter()
        .partition(|function| function["fallible"] == true);
    for function in &fallible {
        source.declare(&mut text, function);
        cases::of(&source, &mut text, function);
    }
    cases::poisoned(&source, &mut text, &fallible);
    text.push_str("int main(void) {\n  int unknown = 0;\n  gate_watch(1);\n");
    for function in &fallible {
        let _ = writeln!(text, "  test_{}();", word(function, "name"));
    }
    text.push_str("  if (hooks()) poisoned();\n  fixture_open();\n");
    for function in &others {
        source.survive(&mut text, function);
    }
    text.push_str("  fixture_close();\n  gate_watch(0);\n  gate_report();\n");
    text.push_str("  printf(hooks() ? \"\\n\" : \"; without test-hooks no handle was held or poisoned\\n\");\n");
    for function in &fallible {
        let name = word(function, "name");
        let _ = writeln!(
            text,
            "  if (!valid_{name}) printf(unknown++ ? \", {name}\" : \"no valid call is known of {name}\");"
        );
    }
    text + "  if (unknown) printf(\"\\n\");\n  return 0;\n}\n"
}

impl Source<'_> {
    pub(super) fn kind(&self, param: &Value) -> Kind {
        let (base, stars) = bare(word(param, "type"));
        match word(param, "pass") {
            "value" => Kind::Number,
            "text" => Kind::Text,
            "shared" | "exclusive" => Kind::Handle,
            "out_handle" => Kind::Owner,
            _ if stars == 1 && find(self.api, "structs", base).is_some_and(extensible) => {
                Kind::Record
            }
            _ if base == "void" && param.get("len").is_none() => Kind::User,
            _ => Kind::Place,
        }
    }

    /// The name of a sample for a parameter, or for its type.
    pub(super) fn sample(&self, function: &str, param: &Value) -> Option<String> {
        let own = format!("SAMPLE_{function}_{}", word(param, "name"));
        let typed = format!("SAMPLE_{}", bare(word(param, "type")).0);
        let defined = |name: &String| self.samples.contains(&format!("#define {name} "));
        let plain = [Kind::Number, Kind::Text, Kind::Place, Kind::User].contains(&self.kind(param));
        Some(own)
            .filter(defined)
            .or(Some(typed).filter(|name| !plain && defined(name)))
    }

    /// Whether a valid call can be made of the samples: if so, it must be one.
    pub(super) fn complete(&self, function: &Value) -> bool {
        let name = word(function, "name");
        list(function, "params").all(|param| match self.kind(param) {
            Kind::Handle | Kind::Record | Kind::Text => {
                param["null"] == true || self.sample(name, param).is_some()
            }
            Kind::Place => word(param, "pass") != "in" || self.sample(name, param).is_some(),
            _ => true,
        })
    }

    /// The function's arguments as a struct, the call with them, valid ones, and what a call left.
    fn declare(&self, text: &mut String, function: &Value) {
        let name = word(function, "name");
        let (mut fields, mut fill, mut drop, mut passed) =
            (String::new(), String::new(), String::new(), String::new());
        for param in list(function, "params") {
            let (it, kind) = (word(param, "name"), word(param, "type"));
            let (base, _) = bare(kind);
            let sample = self.sample(name, param);
            let _ = writeln!(fields, "  {kind} p_{it};");
            let _ = write!(passed, "a->p_{it}, ");
            let value = match self.kind(param) {
                Kind::Owner => {
                    let _ = writeln!(fields, "  {base} *o_{it};");
                    let _ = writeln!(fill, "  memset(&a->o_{it}, CANARY, sizeof a->o_{it});");
                    let _ = writeln!(
                        drop,
                        "  if (memcmp(&a->o_{it}, &canary.o_{it}, sizeof a->o_{it}) != 0) {base}_free(a->o_{it});"
                    );
                    format!("&a->o_{it}")
                }
                Kind::Record => {
                    let _ = writeln!(
                        fields,
                        "  struct {{\n    {base} it;\n    unsigned char tail[64];\n  }} s_{it};"
                    );
                    let _ = match sample {
                        Some(sample) => writeln!(fill, "  a->s_{it}.it = {sample};"),
                        None => writeln!(fill, "  HALO_INIT(a->s_{it}.it);"),
                    };
                    format!("&a->s_{it}.it")
                }
                kind => sample.unwrap_or_else(|| match kind {
                    Kind::Text if param["null"] != true => "\"\"".into(),
                    Kind::Place if word(param, "pass") == "in" => {
                        "(const void *)fx.host.numbers".into()
                    }
                    Kind::Place => "(void *)fx.host.out.bytes".into(),
                    _ => "0".into(),
                }),
            };
            let _ = writeln!(fill, "  a->p_{it} = {value};");
        }
        let _ = write!(
            text,
            "/* ---- {name} */\ntypedef struct {{\n{fields}  int none;\n}} args_{name};\n\
             static halo_status call_{name}(void *args, halo_error *err) {{\n  args_{name} *a = args;\n  (void)a;\n  return {name}({passed}err);\n}}\n\
             static void fill_{name}(args_{name} *a) {{\n  memset(a, 0, sizeof *a);\n{fill}}}\n\
             static void drop_{name}(args_{name} *a) {{\n  args_{name} canary;\n  memset(&canary, CANARY, sizeof canary);\n  (void)a;\n{drop}}}\n"
        );
    }

    /// A function that cannot fail bears NULL, and what is no handle, in every place.
    fn survive(&self, text: &mut String, function: &Value) {
        let name = word(function, "name");
        let params: Vec<&Value> = list(function, "params").collect();
        for (at, param) in params
            .iter()
            .enumerate()
            .filter(|(_, param)| word(param, "type").contains('*'))
        {
            let handle = self.kind(param) == Kind::Handle;
            let sample = self.sample(name, param).filter(|_| handle);
            let misplaced =
                sample.map(|sample| format!("MISPLACED({}, {sample})", word(param, "type")));
            for spoiled in std::iter::once("NULL".to_string()).chain(misplaced) {
                let arguments: Vec<String> = params
                    .iter()
                    .enumerate()
                    .map(|(other, param)| match self.kind(param) {
                        _ if other == at => spoiled.clone(),
                        Kind::Handle => self.sample(name, param).unwrap_or("NULL".into()),
                        Kind::Place | Kind::Owner => "NULL".into(),
                        _ => self.sample(name, param).unwrap_or("0".into()),
                    })
                    .collect();
                let _ = writeln!(text, "  (void){name}({});", arguments.join(", "));
            }
        }
    }
}
