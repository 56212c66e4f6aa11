//! The emulated GPU of a build without it.

use std::sync::Arc;

use super::driver::Driver;
use crate::Error;

pub(super) fn open(_bytes: usize) -> Result<Arc<dyn Driver>, Error> {
    Err(Error::device(
        "Gpu::emulated",
        "this build has no emulated GPU; build with --features emulator".into(),
    ))
}
