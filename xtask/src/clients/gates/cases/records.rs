//! What can be wrong inside a struct: its size, its fields, the tensors that it points to.

use std::fmt::Write;

use serde_json::Value;

use super::{Case, TOO_MANY};
use crate::header::items::{bare, find, list, word};

/// What makes a tensor one that cannot be followed.
const TENSORS: [(&str, &str); 11] = [
    ("without data", "spoiled.data = NULL;"),
    ("misaligned", "spoiled.byte_offset = 1;"),
    ("beyond memory", "spoiled.byte_offset = SIZE_MAX / 2;"),
    (
        "on a device that is none",
        "spoiled.device.device_type = (DLDeviceType)77;",
    ),
    ("of 77 dimensions", "spoiled.ndim = 77;"),
    ("of -1 dimensions", "spoiled.ndim = -1;"),
    ("of no type", "spoiled.dtype.code = 77;"),
    ("of two lanes", "spoiled.dtype.lanes = 2;"),
    ("without a shape", "spoiled.shape = NULL;"),
    ("of a negative size", "shape[0] = -4;"),
    ("of a size without end", "shape[0] = INT64_MAX / 2;"),
];

impl Case<'_> {
    /// Sizes that are none, a tail that this version does not know, and every field that can be wrong.
    pub(super) fn record(&self, text: &mut String) {
        let (it, name) = (word(self.param, "name"), self.function);
        let base = bare(word(self.param, "type")).0;
        let Some(record) = find(self.source.api, "structs", base) else {
            return;
        };
        for size in ["0", "4", "7", "65537", "0xffffffffu"] {
            self.refuse(
                text,
                &format!("has struct_size {size}"),
                &format!("a.s_{it}.it.struct_size = {size};"),
                "BAD_ABI",
            );
        }
        let longer = format!("a.s_{it}.it.struct_size += 64;");
        let output = |field: &Value| word(field, "doc").starts_with("Out");
        let own = |field: &&Value| !word(field, "name").starts_with("reserved");
        let outputs = list(record, "fields")
            .skip(1)
            .filter(own)
            .filter(|field| output(field))
            .count();
        let all = list(record, "fields").skip(1).filter(own).count();
        // A struct that the library fills is read as far as its size only.
        let read = word(self.param, "pass") == "in" || (outputs > 0 && outputs < all);
        if read {
            self.refuse(
                text,
                "has a tail",
                &format!("{longer} a.s_{it}.tail[63] = 1;"),
                "BAD_TAIL",
            );
        }
        let _ = writeln!(
            text,
            "  fill_{name}(&a);\n  {longer}\n  if (valid_{name}) accept(\"{it} is longer, all zero\", call_{name}, &a);\n  drop_{name}(&a);"
        );
        for field in list(record, "fields").skip(2) {
            let field = word(field, "name");
            let _ = writeln!(
                text,
                "  fixture_close();\n  fixture_open();\n  fill_{name}(&a);\n  shorter(\"{it} ends before {field}\", call_{name}, &a, &a.s_{it}.it, offsetof({base}, {field}), sizeof a.s_{it});\n  drop_{name}(&a);"
            );
        }
        let _ = writeln!(text, "  fixture_close();\n  fixture_open();");
        for field in list(record, "fields")
            .skip(1)
            .filter(|field| read && (!output(field) || word(field, "type").contains('*')))
        {
            self.field(text, record, field);
        }
    }

    fn field(&self, text: &mut String, record: &Value, field: &Value) {
        let (it, its) = (word(self.param, "name"), word(field, "name"));
        let place = format!("a.s_{it}.it.{its}");
        let kind = word(field, "type");
        let (base, stars) = bare(kind);
        let sized = stars == 0 && ["size_t", "uint64_t", "int64_t"].contains(&base);
        let counts =
            list(record, "fields").any(|other| word(other, "len").split('+').next() == Some(its));
        if sized && counts {
            for many in TOO_MANY {
                let many = if base == "int64_t" {
                    "INT64_MAX / 2"
                } else {
                    many
                };
                self.refuse(
                    text,
                    &format!("has {its} = {many}"),
                    &format!("{place} = {many};"),
                    "BAD_LENGTH",
                );
            }
        } else if its == "dtype" && stars == 0 {
            self.refuse(
                text,
                "has dtype 7",
                &format!("{place} = 7;"),
                "BAD_CONSTANT",
            );
        } else if its == "flags" && stars == 0 {
            self.refuse(
                text,
                "has an unknown flag",
                &format!("{place} |= 1u << 31;"),
                "BAD_CONSTANT",
            );
        } else if stars == 1
            && field.get("len").is_some()
            && (field["dtype"] == true || !["void", "char", "int8_t", "uint8_t"].contains(&base))
        {
            // Nobody follows a pointer to nothing.
            let len = word(field, "len").split('+').next().unwrap_or("");
            let counted = list(record, "fields")
                .any(|other| word(other, "name") == len && !word(other, "type").contains('*'));
            let some = match counted {
                true => format!("if (a.s_{it}.it.{len} > 0) "),
                false => String::new(),
            };
            let value = format!("{place} = MISPLACED({kind}, fx.host.out.bytes);");
            let what = format!("has {its} misplaced");
            // A column that the sample does not use may be one that this call does not read.
            let some = format!("{some}if ({place} != NULL) ");
            self.refuse_if(text, &some, &what, &value, "BAD_PLACE");
        } else if base == "DLTensor" {
            self.tensor(text, its, &place, kind);
        } else if kind == "halo_str" {
            let nowhere = format!("{place}.data = NULL;\n    {place}.len = 3;");
            self.refuse(
                text,
                &format!("has {its} of NULL"),
                &nowhere,
                "BAD_ARGUMENT",
            );
            let long = format!("{place}.data = \"k\";\n    {place}.len = SIZE_MAX / 2;");
            self.refuse(text, &format!("has {its} without end"), &long, "BAD_LENGTH");
            let wrong = format!("{place}.data = \"k\\xff\";\n    {place}.len = 2;");
            self.refuse(
                text,
                &format!("has {its} that is not UTF-8"),
                &wrong,
                "BAD_TEXT",
            );
        }
    }

    /// A tensor that the sample uses, spoiled in every part.
    fn tensor(&self, text: &mut String, its: &str, place: &str, kind: &str) {
        let used = format!("if ({place} != NULL) ");
        let misplaced = format!("{place} = MISPLACED({kind}, fx.host.out.bytes);");
        self.refuse_if(
            text,
            &used,
            &format!("has {its} misplaced"),
            &misplaced,
            "BAD_PLACE",
        );
        let copied = format!(
            "spoiled = *{place};\n    memcpy(shape, spoiled.shape, (size_t)spoiled.ndim * sizeof shape[0]);\n    spoiled.shape = shape;\n    {place} = &spoiled;"
        );
        for (what, spoil) in TENSORS {
            let spoil = format!("{copied}\n    {spoil}");
            self.refuse_if(
                text,
                &used,
                &format!("has {its} {what}"),
                &spoil,
                "BAD_TENSOR",
            );
        }
        let strided = format!(
            "{copied}\n    memset(strides, 1, sizeof strides);\n    spoiled.strides = strides;"
        );
        self.refuse_if(
            text,
            &used,
            &format!("has {its} with strides"),
            &strided,
            "BAD_TENSOR",
        );
    }
}
