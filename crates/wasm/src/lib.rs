//! `halo-loss` for a page in a browser, so that the page shows the engine's own numbers: bit for bit what a native program computes.
//!
//! The modules are plain Rust and run natively; [`exports`] alone speaks to JavaScript. Parameters travel as numbers in the order of
//! the catalogue (a choice by its index, a flag as 0 or 1, NaN for the default), columns as typed arrays, descriptions as JSON.

pub mod catalogue;
pub mod curves;
pub mod evaluate;
pub mod exports;
mod json;
pub mod numbers;
pub mod params;
pub mod run;
pub mod theory;
