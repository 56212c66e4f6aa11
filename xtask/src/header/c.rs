//! Rust's types of the interface, in C's words.

use syn::{GenericArgument, PathArguments, ReturnType, Type};

/// As C writes it, such as `const halo_loss *`; an array's length stands behind, as in `char[64]`.
pub(super) fn name(kind: &Type) -> Result<String, String> {
    match kind {
        Type::Ptr(pointer) => {
            let inner = name(&pointer.elem)?;
            let star = if inner.ends_with('*') { "*" } else { " *" };
            Ok(
                match (pointer.const_token.is_some(), inner.ends_with('*')) {
                    (true, false) => format!("const {inner}{star}"),
                    (true, true) => format!("{inner}const *"),
                    (false, _) => format!("{inner}{star}"),
                },
            )
        }
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else {
                return Err("a type without a name".into());
            };
            let word = last.ident.to_string();
            Ok(match word.as_str() {
                "c_char" => "char".into(),
                "c_void" => "void".into(),
                "usize" => "size_t".into(),
                "f32" => "float".into(),
                "f64" => "double".into(),
                "i8" | "i16" | "i32" | "i64" => format!("int{}_t", &word[1..]),
                "u8" | "u16" | "u32" | "u64" => format!("uint{}_t", &word[1..]),
                _ => word,
            })
        }
        Type::Array(array) => {
            let inner = name(&array.elem)?;
            let len = match &array.len {
                syn::Expr::Lit(literal) => match &literal.lit {
                    syn::Lit::Int(len) => len.base10_digits().to_string(),
                    _ => return Err("an array's length is no number".into()),
                },
                _ => return Err("an array's length is no number".into()),
            };
            Ok(format!("{inner}[{len}]"))
        }
        _ => Err("a type that C does not know".into()),
    }
}

/// The function type in `Option<unsafe extern "C" fn(..) -> ..>`.
pub(super) fn callback(kind: &Type) -> Option<&syn::TypeBareFn> {
    let Type::Path(path) = kind else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(Type::BareFn(function))) if last.ident == "Option" => {
            Some(function)
        }
        _ => None,
    }
}

/// `void` where nothing comes back.
pub(super) fn result(output: &ReturnType) -> Result<String, String> {
    match output {
        ReturnType::Default => Ok("void".into()),
        ReturnType::Type(_, kind) => name(kind),
    }
}
