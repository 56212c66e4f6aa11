//! Built-in judges: domains in which a small program knows the truth.

pub mod lists;

use lists::Request;

/// A program that tells right answers from wrong ones.
pub trait Verifier: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Whether the answer is right, or acceptable, for the prompt.
    fn judge(&self, prompt: &str, completion: &str) -> bool;
}

/// Every built-in verifier.
pub const VERIFIERS: &[&dyn Verifier] = &[&Lists];

/// The verifier of this name.
pub fn find(name: &str) -> Option<&'static dyn Verifier> {
    VERIFIERS
        .iter()
        .copied()
        .find(|verifier| verifier.name() == name)
}

/// Requests for short lists, the demo's domain: "Name a fruit, a tool and an animal."
struct Lists;

impl Verifier for Lists {
    fn name(&self) -> &'static str {
        "lists"
    }

    fn judge(&self, prompt: &str, completion: &str) -> bool {
        Request::parse(prompt).is_some_and(|request| request.is_met_by(completion))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_found_by_its_name() {
        for verifier in VERIFIERS {
            assert_eq!(find(verifier.name()).unwrap().name(), verifier.name());
        }
        assert!(find("list").is_none());
    }

    #[test]
    fn lists_judges_requests_and_nothing_else() {
        let lists = find("lists").unwrap();
        assert!(lists.judge("Name a fruit and a tool.", "pear and saw"));
        assert!(!lists.judge("Name a fruit and a tool.", "pear and cow"));
        assert!(!lists.judge("Who are you?", "pear and saw"));
    }
}
