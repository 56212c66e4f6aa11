//! Without the engine's data readers: what this build cannot do.

use std::convert::Infallible;

use halo_loss::DataShape;
use halo_train::Dataset;
use serde::Deserialize;

use super::records::{Content, Records};
use crate::failure::{Failure, Outcome};
use crate::status::*;

/// A line of JSON: this build holds none.
pub(super) type Line = Infallible;

/// Of any keys: they are not looked at.
#[derive(Default, Deserialize)]
pub(super) struct Options {}

pub(super) fn load(_records: &mut Records, _path: &str, _options: &Options) -> Outcome {
    Err(absent("reading files"))
}

pub(super) fn add_json(_records: &mut Records, _line: &str) -> Outcome {
    Err(absent("lines of JSON"))
}

pub(super) fn text(_prompt: &str, _completion: &str) -> Outcome<Content> {
    Err(absent("a record's text"))
}

pub(super) fn diagnose(_records: &Records, _known: &Options) -> Outcome<String> {
    Err(absent("the diagnosis of data"))
}

pub(super) fn as_tokens(
    _records: &Records,
    _shape: DataShape,
    _score_threshold: Option<f64>,
) -> Outcome<Dataset> {
    Err(absent("lines of JSON"))
}

fn absent(what: &str) -> Failure {
    let message = format!(
        "{what}: this is the small build of libhalo; the full one (feature \"session\") reads text and files"
    );
    Failure::new(HALO_E_UNSUPPORTED, "library.session", message)
}
