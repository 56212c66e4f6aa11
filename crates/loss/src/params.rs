//! Parameters by name: from a command line, a TOML file or JSON, into a loss that has checked them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::error::Error;

/// What a parameter is set to.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(untagged)
)]
pub enum ParamValue {
    /// A number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
    /// A word.
    Text(String),
}

impl ParamValue {
    /// Reads a value as a person writes it: `true` and `false` are flags, numbers are numbers, the rest is text.
    pub fn parse(text: &str) -> ParamValue {
        let text = text.trim();
        match (text, text.parse::<f64>()) {
            ("true", _) => ParamValue::Flag(true),
            ("false", _) => ParamValue::Flag(false),
            (_, Ok(number)) => ParamValue::Number(number),
            _ => ParamValue::Text(text.to_string()),
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            ParamValue::Number(_) => "number",
            ParamValue::Flag(_) => "flag",
            ParamValue::Text(_) => "text",
        }
    }
}

/// As a person would write it; [`ParamValue::parse`] reads it back.
impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // six zeros are hard to count: switch to an exponent where a person would
            ParamValue::Number(x) if *x != 0.0 && !(1e-4..1e6).contains(&x.abs()) => {
                write!(f, "{x:e}")
            }
            ParamValue::Number(x) => write!(f, "{x}"),
            ParamValue::Flag(flag) => write!(f, "{flag}"),
            ParamValue::Text(text) => f.write_str(text),
        }
    }
}

impl From<f64> for ParamValue {
    fn from(number: f64) -> Self {
        ParamValue::Number(number)
    }
}

impl From<bool> for ParamValue {
    fn from(flag: bool) -> Self {
        ParamValue::Flag(flag)
    }
}

impl From<&str> for ParamValue {
    fn from(text: &str) -> Self {
        ParamValue::parse(text)
    }
}

/// Named values, in alphabetical order; unchecked until a loss is made of them.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct Params(BTreeMap<String, ParamValue>);

impl Params {
    /// None: every parameter at its default.
    pub fn new() -> Params {
        Params::default()
    }

    /// Sets a parameter; text is read by [`ParamValue::parse`]. The last word counts.
    pub fn set(&mut self, key: &str, value: impl Into<ParamValue>) -> &mut Params {
        self.0.insert(key.trim().to_string(), value.into());
        self
    }

    /// Sets a parameter as a command line gives it, `key=value`.
    ///
    /// # Errors
    /// No `=`, or nothing before it.
    pub fn parse(&mut self, assignment: &str) -> Result<(), Error> {
        match assignment.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                self.set(key, value);
                Ok(())
            }
            _ => Err(Error::parameter(
                assignment,
                format!("{assignment:?} is not of the form key=value"),
            )),
        }
    }

    /// The value of a parameter, where it was set.
    pub fn get(&self, key: &str) -> Option<&ParamValue> {
        self.0.get(key)
    }

    /// All of them, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ParamValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many were set.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number that the loss's spec has already checked.
    pub(crate) fn number(&self, key: &str) -> Result<f64, Error> {
        match self.get(key) {
            Some(ParamValue::Number(number)) => Ok(*number),
            _ => Err(Error::parameter(
                key,
                format!("{key} is not a number of this loss"),
            )),
        }
    }

    /// A word that the loss's spec has already checked.
    pub(crate) fn text(&self, key: &str) -> Result<&str, Error> {
        match self.get(key) {
            Some(ParamValue::Text(text)) => Ok(text),
            _ => Err(Error::parameter(
                key,
                format!("{key} is not a word of this loss"),
            )),
        }
    }

    /// A flag that the loss's spec has already checked.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.get(key) {
            Some(ParamValue::Flag(flag)) => Ok(*flag),
            _ => Err(Error::parameter(
                key,
                format!("{key} is not a flag of this loss"),
            )),
        }
    }
}
