//! JSON as Python's `json.dumps` writes it: chat templates put tools into prompts with it, byte for byte.

use serde_json::Value;

/// The arguments of `json.dumps` that templates use.
#[derive(Debug, Default)]
pub(super) struct Style {
    pub(super) indent: Option<usize>,
    pub(super) ascii: bool,
    pub(super) sort: bool,
    /// Between items, and between key and value.
    pub(super) separators: Option<(String, String)>,
}

/// The text of a value.
pub(super) fn dumps(value: &Value, style: &Style) -> String {
    let (item, key) = match (&style.separators, style.indent) {
        (Some((item, key)), _) => (item.as_str(), key.as_str()),
        (None, Some(_)) => (",", ": "),
        (None, None) => (", ", ": "),
    };
    let mut out = String::new();
    Writer { style, item, key }.write(value, 0, &mut out);
    out
}

struct Writer<'a> {
    style: &'a Style,
    item: &'a str,
    key: &'a str,
}

impl Writer<'_> {
    fn write(&self, value: &Value, depth: usize, out: &mut String) {
        match value {
            Value::String(text) => self.string(text, out),
            Value::Array(items) if !items.is_empty() => {
                self.list(('[', ']'), depth, out, items.iter(), |item, out| {
                    self.write(item, depth + 1, out);
                });
            }
            Value::Object(map) if !map.is_empty() => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.style.sort {
                    entries.sort_by_key(|(key, _)| *key);
                }
                self.list(
                    ('{', '}'),
                    depth,
                    out,
                    entries.into_iter(),
                    |(key, value), out| {
                        self.string(key, out);
                        out.push_str(self.key);
                        self.write(value, depth + 1, out);
                    },
                );
            }
            Value::Number(number) => out.push_str(&python_number(number)),
            // null, booleans, [] and {} look the same in both languages.
            plain => out.push_str(&plain.to_string()),
        }
    }

    fn list<T>(
        &self,
        (open, close): (char, char),
        depth: usize,
        out: &mut String,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(T, &mut String),
    ) {
        let new_line = |depth: usize, out: &mut String| {
            if let Some(indent) = self.style.indent {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent * depth));
            }
        };
        out.push(open);
        for (index, item) in items.enumerate() {
            if index > 0 {
                out.push_str(self.item);
            }
            new_line(depth + 1, out);
            write(item, out);
        }
        new_line(depth, out);
        out.push(close);
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' '
                    || (self.style.ascii && !c.is_ascii())
                    || (self.style.ascii && c == '\u{7f}') =>
                {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// A number as Python's `repr` writes it: exponents have a sign and two digits, and begin at 1e16 and below 1e-4.
fn python_number(number: &serde_json::Number) -> String {
    let Some(value) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{value:e}");
        // `{:e}` always writes one `e`.
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // Every expected text is what Python 3.11's json.dumps(..., ensure_ascii=False) writes.
    #[test]
    fn values_are_written_as_python_writes_them() {
        let value = json!({"b": [1, 2.5, true, null], "a": {"x": "é\n\"<&'"}, "e": [], "o": {}});
        assert_eq!(
            dumps(&value, &Style::default()),
            "{\"b\": [1, 2.5, true, null], \"a\": {\"x\": \"é\\n\\\"<&'\"}, \"e\": [], \"o\": {}}"
        );
        let style = Style {
            indent: Some(2),
            sort: true,
            ascii: true,
            separators: None,
        };
        assert_eq!(
            dumps(&json!({"b": [1], "a": "é😀"}), &style),
            "{\n  \"a\": \"\\u00e9\\ud83d\\ude00\",\n  \"b\": [\n    1\n  ]\n}"
        );
        for (value, text) in [
            (json!(1e16), "1e+16"),
            (json!(1e-5), "1e-05"),
            (json!(1.5e300), "1.5e+300"),
            (json!(0.0001), "0.0001"),
            (json!(3.0), "3.0"),
            (json!(-0.0), "-0.0"),
        ] {
            assert_eq!(dumps(&value, &Style::default()), text);
        }
    }
}
