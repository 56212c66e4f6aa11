//! `cargo xtask bench`: criterion's benchmarks of the losses and of the ops.

use crate::shell::{self, Outcome, cargo};

/// Each crate's bench target; what follows the task goes to criterion: `cargo xtask bench -- attention`.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    for (package, target) in [("halo-loss", "losses"), ("halo-kernels", "ops")] {
        shell::run(
            cargo("bench --package")
                .arg(package)
                .args(["--bench", target])
                .args(arguments),
        )?;
    }
    Ok(())
}
