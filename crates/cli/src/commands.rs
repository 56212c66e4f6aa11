//! One file a command.

pub(crate) mod advise;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod losses;
pub(crate) mod saturation;
pub(crate) mod score;
pub(crate) mod selftest;
pub(crate) mod train;
pub(crate) mod tune;
