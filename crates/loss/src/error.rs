//! What can be wrong: a name, a parameter, the data. One opaque type, asked by predicates.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Why a loss could not be made or evaluated. Displays as one lower-case line that names the argument,
/// the value, and what is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    kind: Kind,
    argument: Option<String>,
    row: Option<usize>,
    nearest: Option<String>,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Name,
    Key,
    Parameter,
    Data,
    Nonfinite,
}

impl Error {
    /// A name that no registry entry carries: of a loss, or of a reference point.
    pub fn is_name(&self) -> bool {
        self.kind == Kind::Name
    }

    /// A parameter that does not exist, has the wrong type, is out of range, or contradicts another.
    pub fn is_parameter(&self) -> bool {
        matches!(self.kind, Kind::Key | Kind::Parameter)
    }

    /// A name of something, or of a parameter, that does not exist.
    pub fn is_unknown(&self) -> bool {
        matches!(self.kind, Kind::Name | Kind::Key)
    }

    /// The known name that an unknown one is most like, if it is like one.
    pub fn nearest(&self) -> Option<&str> {
        self.nearest.as_deref()
    }

    /// Log-probabilities, counts or labels that the loss cannot use.
    pub fn is_data(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Nonfinite)
    }

    /// NaN or infinity among the data, or a result that overflows.
    pub fn is_nonfinite(&self) -> bool {
        self.kind == Kind::Nonfinite
    }

    /// The parameter or field at fault, by name.
    pub fn argument(&self) -> Option<&str> {
        self.argument.as_deref()
    }

    /// The row at fault, by index.
    pub fn row(&self) -> Option<usize> {
        self.row
    }

    pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
        let message = format!("unknown {what} {name:?}; known: {}", known.join(", "));
        Error {
            nearest: nearest(name, known).map(ToString::to_string),
            ..Error::new(Kind::Name, None, message)
        }
    }

    pub(crate) fn unknown_parameter(name: &str, known: &[&str]) -> Error {
        let error = Error::unknown("parameter", name, known);
        Error {
            kind: Kind::Key,
            argument: Some(name.to_string()),
            ..error
        }
    }

    pub(crate) fn parameter(name: &str, message: impl Into<String>) -> Error {
        Error::new(Kind::Parameter, Some(name), message.into())
    }

    pub(crate) fn data(argument: &str, message: impl Into<String>) -> Error {
        Error::new(Kind::Data, Some(argument), message.into())
    }

    /// A number of a row that is none.
    pub(crate) fn nonfinite(argument: &str, row: usize, message: impl fmt::Display) -> Error {
        Error {
            kind: Kind::Nonfinite,
            ..Error::at_row(argument, row, message)
        }
    }

    fn new(kind: Kind, argument: Option<&str>, message: String) -> Error {
        Error {
            kind,
            argument: argument.map(ToString::to_string),
            row: None,
            nearest: None,
            message,
        }
    }

    pub(crate) fn at_row(argument: &str, row: usize, message: impl fmt::Display) -> Error {
        Error {
            row: Some(row),
            ..Error::data(argument, format!("row {row}: {message}"))
        }
    }

    /// Says whose parameter it was.
    pub(crate) fn of(mut self, owner: &str) -> Error {
        self.message = format!("{owner}: {}", self.message);
        self
    }
}

/// The known name with the fewest changed letters, if less than half of them changed.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|known| (distance(name, known), *known));
    let (changed, known) = distances.min_by_key(|(changed, _)| *changed)?;
    (2 * changed < name.chars().count().max(3)).then_some(known)
}

/// Letters to insert, delete or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

/// `a, b or c`.
pub(crate) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_string(),
        [one] => (*one).to_string(),
        [first @ .., last] => {
            let first: Vec<&str> = first.to_vec();
            format!("{} or {last}", first.join(", "))
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_what_it_is_like() {
        let near = |name| nearest(name, &["kto", "dpo", "apo_zero", "label_smoothing"]);
        assert_eq!(near("kt0"), Some("kto"));
        assert_eq!(near("apo-zero"), Some("apo_zero"));
        assert_eq!(near("labelsmoothing"), Some("label_smoothing"));
        assert_eq!(near("xyz"), None);
        assert_eq!(near(""), None);
        assert_eq!(nearest("kto", &[]), None);
    }
}
