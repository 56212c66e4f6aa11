//! A build without the built-in models: no session can be made, so nothing here can be reached with one.

use std::sync::Arc;

use super::rows::Rows;
use crate::dataset::Records;
use crate::failure::{Failure, Outcome};
use crate::intake::Watch;
use crate::status::*;

/// There is none.
pub(crate) enum Session {}

/// # Errors
/// Always: this build has no sessions.
pub(super) fn here() -> Outcome {
    let message = "this build has no built-in models, text and files: take the full build of libhalo \
                   (cargo build -p halo-ffi --features session)";
    Err(Failure::new(HALO_E_UNSUPPORTED, "library.session", message))
}

impl Session {
    pub(super) fn new(_config: &str) -> Outcome<Session> {
        here().and_then(|()| Err(Failure::new(HALO_E_UNSUPPORTED, "library.session", "")))
    }

    pub(super) fn of_this_process(&self) -> Outcome {
        match *self {}
    }

    pub(super) fn attach(&mut self, _role: &str, _records: &Arc<Records>) -> Outcome {
        match *self {}
    }

    pub(super) fn train(&mut self, _watch: &Watch) -> Outcome {
        match *self {}
    }

    pub(super) fn evaluate(&mut self, _watch: &Watch) -> Outcome {
        match *self {}
    }

    pub(super) fn set(&mut self, _key: &str, _value: &str) -> Outcome {
        match *self {}
    }

    pub(super) fn metrics(&self) -> Outcome<String> {
        match *self {}
    }

    pub(super) fn describe(&self) -> Outcome<String> {
        match *self {}
    }

    pub(super) fn tokenize(&self, _text: &str, _continuation: bool) -> Outcome<Vec<u32>> {
        match *self {}
    }

    pub(super) fn score(
        &mut self,
        _rows: &Rows,
        _reference: bool,
        _by_token: bool,
    ) -> Outcome<Vec<f64>> {
        match *self {}
    }

    pub(super) fn generate(
        &mut self,
        _prompt: &str,
        _options: &str,
        _watch: &Watch,
    ) -> Outcome<String> {
        match *self {}
    }

    pub(super) fn save(&mut self, _folder: &str) -> Outcome {
        match *self {}
    }

    pub(super) fn load(&mut self, _folder: &str) -> Outcome {
        match *self {}
    }

    pub(super) fn export(&self, _folder: &str, _format: &str) -> Outcome {
        match *self {}
    }
}
