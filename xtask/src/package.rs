//! `cargo xtask package`: the libraries as a registry would get them.

use crate::shell::{self, Outcome, cargo};

const PACK: &str = "package --workspace --exclude halo-cli --exclude halo-wasm --exclude xtask --allow-dirty --quiet";

/// Packs them and builds each from its package alone, the others from theirs.
pub(crate) fn run(_: &[String]) -> Outcome {
    shell::run(&mut cargo(PACK))
}

/// Packs them without building: what their manifests say and include.
pub(crate) fn list() -> Outcome {
    shell::run(cargo(PACK).arg("--no-verify"))
}
