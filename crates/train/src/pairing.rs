//! Mismatched completions y′ for the reference point z₀ = KL(π ‖ π_ref): which other completion a prompt meets.

pub mod halos;
pub mod rotate;
pub mod trl;

use halo_loss::Scope;
use serde::{Deserialize, Serialize};

use crate::error::{Error, choose, name_of};

/// The rule by which y′ is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mismatch {
    /// Rotation over everything z₀ is shared by; see [`rotate`].
    #[default]
    Rotate,
    /// As TRL does, for comparison with it; see [`trl`].
    Trl,
    /// As HALOs does; see [`halos`].
    Halos,
}

impl Mismatch {
    /// Every rule with its name, as on the command line and in files.
    pub const NAMES: [(&'static str, Mismatch); 3] = [
        ("rotate", Mismatch::Rotate),
        ("trl", Mismatch::Trl),
        ("halos", Mismatch::Halos),
    ];

    /// What shares one z₀ unless it is said: the step; a micro-batch as TRL and HALOs do, which build their pairs in it.
    pub fn scope(self) -> Scope {
        match self {
            Mismatch::Rotate => Scope::Step,
            Mismatch::Trl | Mismatch::Halos => Scope::Microbatch,
        }
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(name_of(*self, &Mismatch::NAMES))
    }
}

impl std::str::FromStr for Mismatch {
    type Err = Error;

    fn from_str(name: &str) -> Result<Mismatch, Error> {
        choose("mismatch", name, &Mismatch::NAMES)
    }
}
