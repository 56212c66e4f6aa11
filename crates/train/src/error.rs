//! The one error of this crate.

use std::fmt;

/// What went wrong; the text names the argument, its value and what is allowed.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    record: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Parameter,
    Data,
    Protocol,
    Numeric,
    State,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error {
            kind,
            message: message.into(),
            record: None,
        }
    }

    pub(crate) fn parameter(message: impl Into<String>) -> Error {
        Error::new(Kind::Parameter, message)
    }

    pub(crate) fn data(message: impl Into<String>) -> Error {
        Error::new(Kind::Data, message)
    }

    /// Says which record it is about.
    pub(crate) fn at(mut self, record: Option<usize>) -> Error {
        self.record = record;
        self
    }

    /// A setting is outside its range or contradicts another one.
    pub fn is_parameter(&self) -> bool {
        self.kind == Kind::Parameter
    }

    /// The records do not fit together or do not fit the loss.
    pub fn is_data(&self) -> bool {
        self.kind == Kind::Data
    }

    /// The machine was answered with something it did not ask for; it still waits for the right answer.
    pub fn is_protocol(&self) -> bool {
        self.kind == Kind::Protocol
    }

    /// A log-probability, a loss or a gradient is not finite.
    pub fn is_numeric(&self) -> bool {
        self.kind == Kind::Numeric
    }

    /// A saved state does not belong to this run.
    pub fn is_state(&self) -> bool {
        self.kind == Kind::State
    }

    /// The record it is about, an index into the data set's records, where there is one.
    pub fn record(&self) -> Option<usize> {
        self.record
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The value that `name` stands for, or an error that lists the candidates.
pub(crate) fn choose<T: Copy>(what: &str, name: &str, known: &[(&str, T)]) -> Result<T, Error> {
    known
        .iter()
        .find(|(known, _)| *known == name)
        .map(|&(_, value)| value)
        .ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|&(name, _)| name).collect();
            Error::parameter(format!(
                "unknown {what} {name:?}; known: {}",
                names.join(", ")
            ))
        })
}

/// The name of a value in its table, which lists every value.
pub(crate) fn name_of<T: PartialEq>(value: T, known: &[(&'static str, T)]) -> &'static str {
    known
        .iter()
        .find(|(_, known)| *known == value)
        .map_or("", |(name, _)| name)
}
