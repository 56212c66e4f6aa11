//! Without the feature `hub`, models are folders only.

use std::path::{Path, PathBuf};

/// No cache is known.
pub(crate) fn cached_model(_: &str) -> Option<PathBuf> {
    None
}

/// Folders have no other name.
pub(crate) fn name_of(_: &Path) -> Option<String> {
    None
}
