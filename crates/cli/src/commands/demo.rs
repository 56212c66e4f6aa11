//! `halo demo`

use halo_core::Result;

use crate::output::Output;

/// Watch a small model become aligned from binary feedback
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, _output: &Output) -> Result<()> {
    Ok(())
}
