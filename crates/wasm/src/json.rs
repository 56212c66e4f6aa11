//! A writer of JSON for a few small descriptions: a library for it would be larger than all of the losses.

/// JSON under construction: what was written, and whether a comma is due.
#[derive(Default)]
pub(crate) struct Json {
    text: String,
}

impl Json {
    /// One object with what `fill` writes into it.
    pub(crate) fn object(fill: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        json.braces('{', '}', fill);
        json.text
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.quote(value);
    }

    /// A number, or null where it is none.
    pub(crate) fn number(&mut self, key: &str, value: f64) {
        self.key(key);
        self.value(value);
    }

    pub(crate) fn maybe(&mut self, key: &str, value: Option<f64>) {
        self.number(key, value.unwrap_or(f64::NAN));
    }

    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.text += if value { "true" } else { "false" };
    }

    pub(crate) fn texts<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a str>) {
        self.key(key);
        self.braces('[', ']', |json| {
            for value in values {
                json.comma();
                json.quote(value);
            }
        });
    }

    pub(crate) fn numbers(&mut self, key: &str, values: impl IntoIterator<Item = f64>) {
        self.key(key);
        self.braces('[', ']', |json| {
            for value in values {
                json.comma();
                json.value(value);
            }
        });
    }

    /// An array of objects.
    pub(crate) fn each<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        fill: impl Fn(&mut Json, T),
    ) {
        self.key(key);
        self.braces('[', ']', |json| {
            for item in items {
                json.comma();
                json.braces('{', '}', |json| fill(json, item));
            }
        });
    }

    fn braces(&mut self, open: char, close: char, fill: impl FnOnce(&mut Json)) {
        self.text.push(open);
        fill(self);
        self.text.push(close);
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.quote(key);
        self.text.push(':');
    }

    fn comma(&mut self) {
        if !self.text.ends_with(['{', '[', ':']) {
            self.text.push(',');
        }
    }

    fn value(&mut self, value: f64) {
        match value.is_finite() {
            true => self.text += &value.to_string(),
            false => self.text += "null",
        }
    }

    fn quote(&mut self, value: &str) {
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                '\n' => self.text += "\\n",
                _ => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let text = Json::object(|json| {
            json.text("a", "say \"x\"\\\n");
            json.numbers("b", [1.0, f64::NAN, 1e-7]);
            json.each("c", [true, false], |json, flag| json.flag("d", flag));
            json.maybe("e", None);
            json.texts("f", []);
        });
        assert_eq!(
            text,
            r#"{"a":"say \"x\"\\\n","b":[1,null,0.0000001],"c":[{"d":true},{"d":false}],"e":null,"f":[]}"#
        );
    }
}
