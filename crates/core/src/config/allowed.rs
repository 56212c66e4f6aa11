//! What values a key takes, said alike for all of them.

#[cfg(feature = "cli")]
use halo_loss::Scope;

use crate::{Error, Result};

#[cfg(feature = "cli")]
pub(super) fn parse_scope(word: &str) -> std::result::Result<Scope, String> {
    match word {
        "step" => Ok(Scope::Step),
        "microbatch" => Ok(Scope::Microbatch),
        _ => Err(format!("{word:?} is not step or microbatch")),
    }
}

pub(super) fn at_least_one(key: &str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::parameter(format!("{key} = 0; allowed: 1 or more")).with_argument(key))
}

pub(super) fn range(key: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::parameter(format!("{key} = {value}; allowed: {low} to {high}")).with_argument(key))
}
