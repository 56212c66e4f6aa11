//! The one error of this crate.

use std::fmt;

/// What went wrong; the text names the argument, its value and what is allowed.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    record: Option<usize>,
    rank: Option<usize>,
    code: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Parameter,
    Data,
    Protocol,
    Numeric,
    State,
    Peer,
    Host,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error {
            kind,
            message: message.into(),
            record: None,
            rank: None,
            code: 0,
        }
    }

    pub(crate) fn parameter(message: impl Into<String>) -> Error {
        Error::new(Kind::Parameter, message)
    }

    pub(crate) fn data(message: impl Into<String>) -> Error {
        Error::new(Kind::Data, message)
    }

    /// A rank failed: its number if it is one, and of this rank the host's code.
    pub(crate) fn peer(message: String, rank: Option<usize>, code: i32) -> Error {
        let error = Error::new(Kind::Peer, message);
        Error {
            rank,
            code,
            ..error
        }
    }

    /// The host's failure, which nobody else need know of or can be told.
    pub(crate) fn host(message: String, code: i32) -> Error {
        let error = Error::new(Kind::Host, message);
        Error { code, ..error }
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

    /// A rank failed in this step, perhaps this one. Nothing was stepped: drop the gradients, and [`Machine::next`] offers the step
    /// again with the same data. Every rank gets this error.
    ///
    /// [`Machine::next`]: crate::Machine::next
    pub fn is_peer(&self) -> bool {
        self.kind == Kind::Peer
    }

    /// The host failed where the other ranks cannot be told: a sum over the ranks, which ends the run, or a work of its own, which is
    /// offered again.
    pub fn is_host(&self) -> bool {
        self.kind == Kind::Host
    }

    /// The rank that failed, if it is exactly one.
    pub fn rank(&self) -> Option<usize> {
        self.rank
    }

    /// What this rank's host said when it failed; 0 where it did not.
    pub fn host_code(&self) -> i32 {
        self.code
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
