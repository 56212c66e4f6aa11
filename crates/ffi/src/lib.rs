//! libhalo: the engine behind a C ABI.
//!
//! Every export is a thin translation: what comes in is read by [`intake`], what the engine says is written by it, and
//! [`guard`] stands between both worlds. `include/halo.h` and `include/halo_api.json` are generated from this crate by
//! `cargo xtask header`, from the text of the declarations and of their comments; the rules that hold for all of them stand in
//! `header.h` beside this crate's manifest. The order of the modules is the order of the header.
#![allow(
    non_camel_case_types,
    reason = "these are the names that C sees, and cbindgen copies them"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "one contract holds for every export: the rules at the top of the header"
)]

#[cfg(not(panic = "unwind"))]
compile_error!("halo-ffi needs panic = \"unwind\": a panic must never reach the host");

mod experimental;
mod failure;
mod guard;
mod handle;
mod intake;
#[cfg(test)]
mod layout;
mod pool;
mod settings;
mod tensor;

pub mod batch;
pub mod blob;
pub mod cancel;
pub mod dataset;
pub mod head;
pub mod library;
pub mod loss;
pub mod pairing;
pub mod refpoint;
pub mod run;
pub mod session;
pub mod status;
pub mod trainer;
