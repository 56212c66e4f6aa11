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
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Name,
    Parameter,
    Data,
}

impl Error {
    /// A name that no registry entry carries: of a loss, or of a reference point.
    pub fn is_name(&self) -> bool {
        self.kind == Kind::Name
    }

    /// A parameter that does not exist, has the wrong type, is out of range, or contradicts another.
    pub fn is_parameter(&self) -> bool {
        self.kind == Kind::Parameter
    }

    /// Log-probabilities, counts or labels that the loss cannot use.
    pub fn is_data(&self) -> bool {
        self.kind == Kind::Data
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
            kind: Kind::Name,
            argument: None,
            row: None,
            message,
        }
    }

    pub(crate) fn parameter(name: &str, message: impl Into<String>) -> Error {
        Error {
            kind: Kind::Parameter,
            argument: Some(name.to_string()),
            row: None,
            message: message.into(),
        }
    }

    pub(crate) fn data(argument: &str, message: impl Into<String>) -> Error {
        Error {
            kind: Kind::Data,
            argument: Some(argument.to_string()),
            row: None,
            message: message.into(),
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
