//! What the program says: results on standard output, everything else on standard error.

use std::io::IsTerminal;

use halo_core::Error;
use serde::Serialize;

/// How to speak.
pub(crate) struct Output {
    pub(crate) quiet: bool,
    pub(crate) json: bool,
}

impl Output {
    pub(crate) fn new(quiet: bool, json: bool) -> Output {
        Output { quiet, json }
    }

    /// Whether bars can be drawn: for people, on a terminal.
    pub(crate) fn draws(&self) -> bool {
        !self.quiet && !self.json && std::io::stderr().is_terminal()
    }

    /// A remark for people.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet && !self.json {
            eprintln!("{text}");
        }
    }

    /// A result: text for people, or one JSON line.
    pub(crate) fn result(&self, text: impl std::fmt::Display, json: &impl Serialize) {
        if self.json {
            self.line(json);
        } else {
            println!("{text}");
        }
    }

    /// One JSON line, whatever the mode.
    pub(crate) fn line(&self, json: &impl Serialize) {
        match serde_json::to_string(json) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("error: {error}"),
        }
    }

    pub(crate) fn error(&self, error: &Error) {
        if self.json {
            let json = serde_json::json!({
                "error": error.to_string(),
                "argument": error.argument(),
                "exit_code": exit_code(error),
            });
            eprintln!("{json}");
        } else {
            eprintln!("error: {error}");
        }
    }
}

/// The exit code that `--help` promises for an error.
pub(crate) fn exit_code(error: &Error) -> u8 {
    match error {
        e if e.is_parameter() || e.is_unavailable() => 2,
        e if e.is_data() => 3,
        e if e.is_model() => 4,
        e if e.is_io() => 5,
        e if e.is_state() => 6,
        _ => 1,
    }
}
