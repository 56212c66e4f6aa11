//! The interface as data: every constant, type and function with its words and tags.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use syn::{Attribute, Expr, Fields, FnArg, Item, Pat};

use super::c;

/// What crates/ffi exports, in the order of its modules.
#[derive(Default)]
pub(super) struct Api {
    constants: Vec<Value>,
    opaque: Vec<Value>,
    aliases: Vec<Value>,
    callbacks: Vec<Value>,
    structs: Vec<Value>,
    functions: Vec<Value>,
    values: BTreeMap<String, u64>,
}

/// Reads the modules that `lib.rs` makes public.
pub(super) fn read(folder: &Path) -> Result<Api, String> {
    let mut api = Api::default();
    api.file(&folder.join("src/lib.rs"), &folder.join("src"))?;
    api.describe_handles();
    Ok(api)
}

impl Api {
    pub(super) fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions
            .iter()
            .filter_map(|function| function["name"].as_str())
    }

    /// Name and version of every exported function, in alphabetical order.
    pub(super) fn symbols(&self) -> String {
        let mut lines: Vec<String> = self
            .functions
            .iter()
            .map(|f| {
                format!(
                    "{} {}\n",
                    f["name"].as_str().unwrap_or(""),
                    f["since"].as_str().unwrap_or("")
                )
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "format": "halo.api",
            "version": 1,
            "abi": [self.values.get("HALO_ABI_MAJOR"), self.values.get("HALO_ABI_MINOR")],
            "constants": self.constants,
            "opaque": self.opaque,
            "aliases": self.aliases,
            "callbacks": self.callbacks,
            "structs": self.structs,
            "functions": self.functions,
        })
    }

    fn file(&mut self, file: &Path, modules: &Path) -> Result<(), String> {
        let within = |error: String| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| within(error.to_string()))?;
        let parsed = syn::parse_file(&text).map_err(|error| within(error.to_string()))?;
        for item in &parsed.items {
            self.item(item, modules).map_err(within)?;
        }
        Ok(())
    }

    fn item(&mut self, item: &Item, modules: &Path) -> Result<(), String> {
        match item {
            Item::Mod(module) if public(&module.vis) && module.content.is_none() => {
                let name = module.ident.to_string();
                self.file(&modules.join(format!("{name}.rs")), &modules.join(name))
            }
            Item::Const(constant) if public(&constant.vis) => {
                let name = constant.ident.to_string();
                let value = self
                    .evaluate(&constant.expr)
                    .map_err(|error| format!("{name}: {error}"))?;
                self.values.insert(name.clone(), value);
                let kind = c::name(&constant.ty)?;
                self.constants.push(json!({"name": name, "type": kind, "value": value, "doc": words(&constant.attrs).0}));
                Ok(())
            }
            Item::Type(alias) if public(&alias.vis) => {
                let (name, doc) = (alias.ident.to_string(), words(&alias.attrs).0);
                match c::callback(&alias.ty) {
                    Some(function) => {
                        let params: Result<Vec<Value>, String> = function
                            .inputs
                            .iter()
                            .map(|input| {
                                let name = input.name.as_ref().map(|(name, _)| name.to_string());
                                Ok(json!({"name": name, "type": c::name(&input.ty)?}))
                            })
                            .collect();
                        let returns = c::result(&function.output)?;
                        self.callbacks.push(json!({"name": name, "returns": returns, "params": params?, "doc": doc}));
                    }
                    None => self
                        .aliases
                        .push(json!({"name": name, "type": c::name(&alias.ty)?, "doc": doc})),
                }
                Ok(())
            }
            Item::Struct(record) if public(&record.vis) => {
                match &record.fields {
                    Fields::Unnamed(_) => {
                        self.opaque.push(json!({"name": record.ident.to_string(), "doc": words(&record.attrs).0}));
                        Ok(())
                    }
                    Fields::Named(fields) => {
                        let fields: Result<Vec<Value>, String> =
                            fields.named.iter().map(field).collect();
                        let name = record.ident.to_string();
                        self.structs.push(
                            json!({"name": name, "fields": fields?, "doc": words(&record.attrs).0}),
                        );
                        Ok(())
                    }
                    Fields::Unit => Ok(()),
                }
            }
            Item::Fn(function) if function.sig.abi.is_some() && public(&function.vis) => {
                self.function(function)
            }
            _ => Ok(()),
        }
    }

    fn function(&mut self, function: &syn::ItemFn) -> Result<(), String> {
        let name = function.sig.ident.to_string();
        let (doc, tags) = words(&function.attrs);
        let since = tags.get("since").and_then(|values| values.first());
        let since =
            since.ok_or_else(|| format!("{name} does not say @since which version it is there"))?;
        let mut params = Vec::new();
        let mut fallible = false;
        for input in &function.sig.inputs {
            let FnArg::Typed(input) = input else {
                return Err(format!("{name} takes self"));
            };
            let Pat::Ident(pattern) = &*input.pat else {
                return Err(format!("{name} has a parameter without a name"));
            };
            let param = pattern
                .ident
                .to_string()
                .trim_start_matches('_')
                .to_string();
            let kind = c::name(&input.ty)?;
            if kind == "halo_error *" {
                fallible = true;
                continue;
            }
            params.push(parameter(&param, &kind, &tags));
        }
        let returns = c::result(&function.sig.output)?;
        if (returns == "halo_status") != fallible {
            return Err(format!(
                "{name}: what returns halo_status takes err last, and nothing else does"
            ));
        }
        self.functions.push(json!({
            "name": name, "since": since, "fallible": fallible, "returns": returns, "params": params, "doc": doc,
        }));
        Ok(())
    }

    /// Says of every pointer to a handle or a struct how it is passed: known once all types are.
    fn describe_handles(&mut self) {
        let named = |list: &[Value], name: &str| list.iter().any(|item| item["name"] == name);
        for function in &mut self.functions {
            for param in function["params"].as_array_mut().into_iter().flatten() {
                let kind = param["type"].as_str().unwrap_or("").to_string();
                let word = kind
                    .trim_start_matches("const ")
                    .trim_end_matches([' ', '*']);
                let stars = kind.matches('*').count();
                let constant = kind.starts_with("const ");
                let pass = match (named(&self.opaque, word), stars) {
                    (true, 2) => "out_handle",
                    (true, 1) if constant => "shared",
                    (true, 1) => "exclusive",
                    _ if kind == "const char *" && param.get("len").is_none() => "text",
                    _ if named(&self.structs, word) && stars == 1 && constant => "in",
                    _ if named(&self.structs, word) && stars == 1 => "inout",
                    (_, 0) => "value",
                    _ if constant => "in",
                    _ if param["pass"] == "inout" => "inout",
                    _ => "out",
                };
                param["pass"] = pass.into();
            }
        }
    }

    /// Integers, earlier constants, shifts and unions.
    fn evaluate(&self, value: &Expr) -> Result<u64, String> {
        match value {
            Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Int(number) => number.base10_parse().map_err(|error| error.to_string()),
                _ => Err("only integers are constants of C".into()),
            },
            Expr::Path(path) => {
                let name = path
                    .path
                    .segments
                    .last()
                    .map(|segment| segment.ident.to_string())
                    .unwrap_or_default();
                self.values
                    .get(&name)
                    .copied()
                    .ok_or_else(|| format!("{name} is not known yet"))
            }
            Expr::Paren(inner) => self.evaluate(&inner.expr),
            Expr::Binary(binary) => {
                let (left, right) = (self.evaluate(&binary.left)?, self.evaluate(&binary.right)?);
                match binary.op {
                    syn::BinOp::Shl(_) => Ok(left << right),
                    syn::BinOp::BitOr(_) => Ok(left | right),
                    _ => Err("only << and | are evaluated".into()),
                }
            }
            _ => Err("not a constant of C".into()),
        }
    }
}

fn parameter(name: &str, kind: &str, tags: &Tags) -> Value {
    let has = |tag: &str| {
        tags.get(tag)
            .is_some_and(|values| values.iter().any(|value| value == name))
    };
    let mut param = Map::new();
    param.insert("name".into(), name.into());
    param.insert("type".into(), kind.into());
    param.insert(
        "pass".into(),
        if has("inout") { "inout" } else { "" }.into(),
    );
    let lens = tags.get("len").into_iter().flatten();
    let len = lens
        .filter_map(|value| value.split_once(' '))
        .find(|(of, _)| *of == name);
    if let Some((_, len)) = len {
        param.insert("len".into(), len.into());
    }
    if has("null") {
        param.insert("null".into(), true.into());
    }
    param.into()
}

/// A field says `@len rows` and `@dtype` at the end of its words.
fn field(field: &syn::Field) -> Result<Value, String> {
    let (doc, _) = words(&field.attrs);
    let (doc, marks) = doc.split_once(" @").unwrap_or((&doc, ""));
    let mut value = json!({
        "name": field.ident.as_ref().map(ToString::to_string),
        "type": c::name(&field.ty)?,
        "doc": doc,
    });
    for mark in marks.split(" @").filter(|mark| !mark.is_empty()) {
        let (tag, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        value[tag] = if rest.is_empty() {
            true.into()
        } else {
            rest.into()
        };
    }
    Ok(value)
}

type Tags = BTreeMap<String, Vec<String>>;

/// The doc comment in one paragraph a blank line, and its lines that begin with `@`.
fn words(attributes: &[Attribute]) -> (String, Tags) {
    let (mut text, mut tags) = (String::new(), Tags::new());
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
    {
        let syn::Meta::NameValue(pair) = &attribute.meta else {
            continue;
        };
        let Expr::Lit(literal) = &pair.value else {
            continue;
        };
        let syn::Lit::Str(line) = &literal.lit else {
            continue;
        };
        let line = line.value().trim().to_string();
        match line
            .strip_prefix('@')
            .map(|tag| tag.split_once(' ').unwrap_or((tag, "")))
        {
            Some((tag, value)) => tags
                .entry(tag.into())
                .or_default()
                .push(value.trim().into()),
            None if line.is_empty() => text.push('\n'),
            None if text.is_empty() || text.ends_with('\n') => text.push_str(&line),
            None => text.push_str(&format!(" {line}")),
        }
    }
    (text.trim().into(), tags)
}

fn public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}
