//! The twin of `cuda.rs` in a build without the feature.

use std::sync::Arc;

use super::Driver;
use crate::Error;

pub(super) fn open(ordinal: usize) -> Result<Arc<dyn Driver>, Error> {
    Err(Error::device(
        "gpu::cuda",
        format!(
            "device {ordinal} asked for, but this binary was built without GPUs: build it with `--features cuda`"
        ),
    ))
}
