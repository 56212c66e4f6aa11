//! Every fast form against its naive form, every naive backward against finite differences.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "ops/attention.rs"]
mod attention;
#[path = "ops/embedding.rs"]
mod embedding;
#[path = "ops/head.rs"]
mod head;
#[path = "ops/head_forms.rs"]
mod head_forms;
#[path = "ops/layouts.rs"]
mod layouts;
#[path = "ops/matmul.rs"]
mod matmul;
#[path = "ops/optim.rs"]
mod optim;
#[path = "ops/rms_norm.rs"]
mod rms_norm;
#[path = "ops/rope.rs"]
mod rope;
#[path = "ops/support.rs"]
mod support;
#[path = "ops/swiglu.rs"]
mod swiglu;
