//! Every op on a device, held to the CPU's: values and gradients over many shapes, outputs poisoned before, runs repeated.
//!
//! The tests run these on the emulated GPU, `halo selftest` on a real one.

mod attention;
mod bias;
mod data;
mod elementwise;
mod embedding;
mod head;
mod layouts;
mod matmul;
mod optim;
mod output;
mod rms_norm;
mod rope;
mod swiglu;

pub use data::{DTYPES, indices, numbers};
pub use layouts::{forest, trie};

use super::{Dtype, Gpu};
use crate::Error;

/// One op's check.
pub struct Check {
    /// Which op, by the name of its module, and which form.
    pub name: &'static str,
    /// The largest deviation that passes, beyond the rounding of `bf16` results, relative to the largest expected number.
    pub allowed: f64,
    /// The largest deviation that it found; infinite for NaN, a write outside, or runs that differ.
    pub run: fn(&Gpu) -> Result<f64, Error>,
}

/// All of them.
///
/// Where the results of `bf16` come by way of `bf16` (a softmax before its product), they have an entry of their own: 2⁻⁸ of terms that
/// partly cancel. The emulated GPU stays at least three times below what is allowed.
pub const ALL: &[Check] = &[
    check("rms_norm: forward", 1e-5, rms_norm::forward),
    check("rms_norm: forward of a sum", 1e-5, rms_norm::forward_added),
    check("rms_norm: backward", 1e-5, rms_norm::backward),
    check("matmul: a linear layer's products", 1e-5, matmul::linear),
    check("bias: forward", 1e-6, bias::add),
    check("bias: backward", 1e-5, bias::accumulate),
    check("embedding: forward", 0.0, embedding::forward),
    check("embedding: backward", 1e-6, embedding::backward),
    check("rope: forward and backward", 1e-6, rope::apply),
    check("swiglu: forward and backward", 3e-6, swiglu::both),
    check("elementwise: arithmetic", 1e-6, elementwise::arithmetic),
    check("elementwise: conversion", 0.0, elementwise::conversion),
    check("attention: every head shape, f32", 1e-5, |gpu| {
        attention::heads(gpu, Dtype::F32)
    }),
    check("attention: every head shape, bf16", 5e-3, |gpu| {
        attention::heads(gpu, Dtype::Bf16)
    }),
    check("attention: windows, f32", 1e-5, |gpu| {
        attention::windows(gpu, Dtype::F32)
    }),
    check("attention: windows, bf16", 1e-2, |gpu| {
        attention::windows(gpu, Dtype::Bf16)
    }),
    check("attention: shared prefixes, f32", 1e-5, |gpu| {
        attention::forests(gpu, Dtype::F32)
    }),
    check("attention: shared prefixes, bf16", 5e-3, |gpu| {
        attention::forests(gpu, Dtype::Bf16)
    }),
    check("attention: caches, f32", 1e-5, |gpu| {
        attention::cached(gpu, Dtype::F32)
    }),
    check("attention: caches, bf16", 1e-3, |gpu| {
        attention::cached(gpu, Dtype::Bf16)
    }),
    check("head: log-probabilities", 3e-6, head::logps),
    check("head: collisions", 1e-5, head::log_collisions),
    check("head: vectors of a frozen one, f32", 3e-5, |gpu| {
        head::stored_vectors(gpu, Dtype::F32)
    }),
    check("head: vectors of a frozen one, bf16", 5e-3, |gpu| {
        head::stored_vectors(gpu, Dtype::Bf16)
    }),
    check(
        "head: backward of a frozen one",
        1e-5,
        head::backward_frozen,
    ),
    check("head: backward of a trained one, f32", 3e-5, |gpu| {
        head::backward_trained(gpu, Dtype::F32)
    }),
    check("head: backward of a trained one, bf16", 5e-3, |gpu| {
        head::backward_trained(gpu, Dtype::Bf16)
    }),
    check("optim: gradient norm", 1e-12, optim::sum_squares),
    check("optim: AdamW", 1e-6, optim::adamw),
    check("optim: AdamW with 8-bit moments", 1e-5, optim::eight_bit),
    check(
        "optim: share of 8-bit codes that differ",
        1e-3,
        optim::eight_bit_codes,
    ),
];

const fn check(name: &'static str, allowed: f64, run: fn(&Gpu) -> Result<f64, Error>) -> Check {
    Check { name, allowed, run }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_op_s_launcher_has_a_check_that_calls_each_of_its_functions() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gpu");
        let read = |name: String| std::fs::read_to_string(folder.join(&name)).expect(&name);
        let modules = read("../gpu.rs".into());
        // What gpu.rs gives to the world are ops, but for this module.
        let ops: Vec<&str> = modules
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .filter(|op| *op != "checks")
            .collect();
        assert!(ops.len() >= 10, "{ops:?}");
        for op in ops {
            let prefix = format!("{op}: ");
            assert!(
                ALL.iter().any(|check| check.name.starts_with(&prefix)),
                "checks::ALL has no entry \"{prefix}…\""
            );
            let check = read(format!("checks/{op}.rs"));
            for function in launchers(&read(format!("{op}.rs"))) {
                let call = format!("gpu::{op}::{function}(");
                assert!(check.contains(&call), "checks/{op}.rs never calls {call}…)");
            }
        }
    }

    #[test]
    fn names_differ() {
        let names: BTreeSet<&str> = ALL.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    /// The public functions of a file that take device memory.
    fn launchers(source: &str) -> Vec<&str> {
        let found: Vec<&str> = source
            .split("\npub fn ")
            .skip(1)
            .filter_map(|rest| rest.split_once('{'))
            .filter(|(signature, _)| signature.contains("&Slice"))
            .filter_map(|(signature, _)| Some(signature.split_once('(')?.0))
            .collect();
        assert!(!found.is_empty(), "no launcher was found");
        found
    }
}
