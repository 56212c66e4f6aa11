//! The NVIDIA driver of a build without it.

use std::sync::Arc;

use super::driver::Driver;
use crate::Error;

pub(super) fn open(_ordinal: usize) -> Result<Arc<dyn Driver>, Error> {
    Err(Error::device(
        "Gpu::cuda",
        "this build has no GPU support; build with --features cuda".into(),
    ))
}
