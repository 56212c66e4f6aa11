//! The crate's one error: what went wrong, where, and of which kind.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::data::Place;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed: a kind to branch on, a message to read, and where it is known the file or the argument.
///
/// The message is lower case, names what was given and what is allowed, and is complete without its source.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    path: Option<PathBuf>,
    argument: Option<String>,
    place: Option<Place>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Parameter,
    Model,
    Io,
    State,
    Unavailable,
    Internal,
}

impl Error {
    /// The user's data is wrong: a line, a record, a tokenizer or a chat template.
    pub fn data(message: impl Into<String>) -> Error {
        Self::new(Kind::Data, message)
    }

    /// An argument, flag or configuration value is wrong.
    pub fn parameter(message: impl Into<String>) -> Error {
        Self::new(Kind::Parameter, message)
    }

    /// A model folder is wrong: its configuration or its weights.
    pub fn model(message: impl Into<String>) -> Error {
        Self::new(Kind::Model, message)
    }

    /// The operating system refused to read or write this file.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Error {
        let path = path.as_ref();
        let mut error = Self::new(Kind::Io, format!("{}: {source}", path.display()));
        error.0.path = Some(path.to_owned());
        error.0.source = Some(source.into());
        error
    }

    /// The operation does not fit what has happened before: a changed configuration on resume, a stale cache.
    pub fn state(message: impl Into<String>) -> Error {
        Self::new(Kind::State, message)
    }

    /// What was asked for exists, but not in this build or on this machine.
    pub fn unavailable(message: impl Into<String>) -> Error {
        Self::new(Kind::Unavailable, message)
    }

    /// The engine's own fault.
    pub fn internal(message: impl Into<String>) -> Error {
        Self::new(Kind::Internal, message)
    }

    /// Names the argument at fault, for callers that show it apart.
    #[must_use]
    pub fn with_argument(mut self, argument: impl Into<String>) -> Error {
        self.0.argument = Some(argument.into());
        self
    }

    /// Keeps the line that it is about.
    pub(crate) fn at(mut self, place: &Place) -> Error {
        self.0.place = Some(place.clone());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Puts `context: ` before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Error {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// Whether the user's data is at fault.
    pub fn is_data(&self) -> bool {
        self.0.kind == Kind::Data
    }

    /// Whether an argument or a configuration value is at fault.
    pub fn is_parameter(&self) -> bool {
        self.0.kind == Kind::Parameter
    }

    /// Whether a model folder is at fault.
    pub fn is_model(&self) -> bool {
        self.0.kind == Kind::Model
    }

    /// Whether the operating system refused to read or write.
    pub fn is_io(&self) -> bool {
        self.0.kind == Kind::Io
    }

    /// Whether the operation does not fit what has happened before.
    pub fn is_state(&self) -> bool {
        self.0.kind == Kind::State
    }

    /// Whether something is missing from this build or machine.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == Kind::Unavailable
    }

    /// Whether the engine itself is at fault.
    pub fn is_internal(&self) -> bool {
        self.0.kind == Kind::Internal
    }

    /// The file that could not be read or written, if this is an I/O error.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The argument at fault, if it is known.
    pub fn argument(&self) -> Option<&str> {
        self.0.argument.as_deref()
    }

    /// The line of data at fault, if it is about one.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            path: None,
            argument: None,
            place: None,
            source: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<candle_core::Error> for Error {
    fn from(source: candle_core::Error) -> Error {
        Error::internal(source.to_string()).with_source(source)
    }
}

impl From<halo_train::Error> for Error {
    fn from(source: halo_train::Error) -> Error {
        let kind = match &source {
            e if e.is_parameter() => Kind::Parameter,
            e if e.is_data() => Kind::Data,
            e if e.is_state() || e.is_numeric() => Kind::State,
            _ => Kind::Internal,
        };
        Self::new(kind, source.to_string()).with_source(source)
    }
}

impl From<halo_loss::Error> for Error {
    fn from(source: halo_loss::Error) -> Error {
        let kind = if source.is_data() {
            Kind::Data
        } else {
            Kind::Parameter
        };
        let mut error = Self::new(kind, source.to_string());
        error.0.argument = source.argument().map(String::from);
        error.with_source(source)
    }
}

impl From<halo_kernels::Error> for Error {
    // The engine calls the kernels with shapes of its own making: a refusal is its own fault.
    fn from(source: halo_kernels::Error) -> Error {
        Error::internal(source.to_string()).with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_names_its_file_and_keeps_its_source() {
        let error = Error::io("a/b.jsonl", std::io::ErrorKind::NotFound.into());
        assert!(error.is_io() && !error.is_data());
        assert_eq!(error.path(), Some(Path::new("a/b.jsonl")));
        assert!(error.to_string().starts_with("a/b.jsonl: "));
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn an_error_is_one_pointer_wide_and_crosses_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }
}
