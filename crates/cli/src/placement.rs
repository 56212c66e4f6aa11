//! Where a command's model computes.

use halo_core::Result;
use halo_core::config::TrainConfig;
use halo_core::device::Placement;

/// Flags of every command that runs a model without training it.
#[derive(clap::Args)]
pub(crate) struct Machine {
    /// Device to compute on: cpu, cuda:0
    #[arg(
        long,
        value_name = "NAME",
        default_value_t = TrainConfig::default().device,
        help_heading = "Machine"
    )]
    device: String,
    /// Numbers to compute with: f32, or bf16 on a GPU
    #[arg(
        long,
        value_name = "NAME",
        default_value_t = TrainConfig::default().dtype,
        help_heading = "Machine"
    )]
    dtype: String,
}

impl Machine {
    pub(crate) fn open(&self) -> Result<Placement> {
        Placement::open(&self.device, &self.dtype)
    }
}
