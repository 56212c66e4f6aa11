//! `halo export`

use std::path::PathBuf;

use halo_core::models::{SaveDtype, Training, export, load};
use halo_core::{Error, Result};

use crate::hub;
use crate::output::Output;

/// Merge an adapter into its base, or convert weights
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model or adapter folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder to write; must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Numbers to store: f32 or bf16
    #[arg(long, value_name = "NAME", default_value = "f32")]
    dtype: String,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let dtype = match args.dtype.as_str() {
        "f32" => SaveDtype::F32,
        "bf16" => SaveDtype::Bf16,
        other => {
            return Err(
                Error::parameter(format!("dtype = \"{other}\"; known: f32, bf16"))
                    .with_argument("dtype"),
            );
        }
    };
    let model = load(&hub::folder(&args.model, output)?, &Training::Frozen, 0)?;
    export(&model, &args.out, dtype)?;
    output.note(format_args!("written: {}", args.out.display()));
    Ok(())
}
