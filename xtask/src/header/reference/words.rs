//! How the interface is put into words: arguments, declarations, rules, comments.

use serde_json::Value;

use crate::header::items::{bare, word};

/// How an argument is passed, who owns it, and how long it is.
pub(super) fn passing(param: &Value) -> String {
    let kind = word(param, "type");
    let (handle, _) = bare(kind);
    let mut words = match word(param, "pass") {
        "shared" => "Borrowed; many threads may pass it at once.".to_string(),
        "exclusive" => "Borrowed by one thread alone.".into(),
        "out_handle" => format!("Out: a new handle, the caller's to free with `{handle}_free`."),
        "text" => "Text that ends with NUL, borrowed.".into(),
        "in" => "Borrowed.".into(),
        "inout" => "Read, and written on success.".into(),
        "out" => "Out: written on success.".into(),
        _ => format!("`{kind}`."),
    };
    let bytes = ["const char *", "const void *"].contains(&kind);
    match word(param, "len") {
        "" => {}
        len if bytes => words.push_str(&format!(" `{len}` bytes.")),
        len => words.push_str(&format!(" `{len}` of them.")),
    }
    if param["null"] == true {
        words.push_str(" May be NULL.");
    }
    words
}

/// Name and words of each rule in the comment at the top of the header.
pub(super) fn rules(header: &str) -> Vec<(String, String)> {
    let mut rules: Vec<(String, String)> = Vec::new();
    for line in header.lines() {
        let line = line.strip_prefix(" *").unwrap_or(line).trim();
        let (name, words) = line.split_once("  ").unwrap_or(("", line));
        if name.len() == 2 && name.ends_with(|digit: char| digit.is_ascii_digit()) {
            rules.push((name.into(), words.trim().into()));
        } else if let Some((_, rule)) = rules.last_mut()
            && !["", "/"].contains(&line)
        {
            rule.push_str(&format!(" {line}"));
        }
    }
    rules
}

/// Comments of C as Markdown: nothing in them is markup.
pub(super) fn prose(words: &str) -> String {
    words.replace('<', "&lt;").replace('\n', "\n\n")
}

/// The same in a table.
pub(super) fn cell(words: &str) -> String {
    words
        .replace('<', "&lt;")
        .replace('|', "\\|")
        .replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_name_and_all_its_lines() {
        let header = "/* halo.h\n *\n *  O1  one\n *      gives\n *  E2  two\n */\n";
        let rules = rules(header);
        let expected = [("O1", "one gives"), ("E2", "two")];
        assert_eq!(
            rules,
            expected.map(|(name, words)| (name.into(), words.into()))
        );
    }
}
