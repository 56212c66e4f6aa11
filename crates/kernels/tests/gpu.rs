//! The CUDA kernels on the emulated GPU: the checks that `halo selftest` runs, then extremes and wrong arguments; and the runtime.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "gpu/arguments.rs"]
mod arguments;
#[path = "gpu/attention.rs"]
mod attention;
#[path = "gpu/elementwise.rs"]
mod elementwise;
#[path = "gpu/embedding.rs"]
mod embedding;
#[path = "gpu/head.rs"]
mod head;
#[path = "gpu/optim.rs"]
mod optim;
#[path = "gpu/rope.rs"]
mod rope;
#[path = "gpu/runtime.rs"]
mod runtime;
#[path = "gpu/support.rs"]
mod support;
#[path = "gpu/swiglu.rs"]
mod swiglu;

/// Packs and the naive form, as the CPU's tests have them.
#[allow(dead_code, reason = "the CPU's tests use the rest")]
#[path = "ops"]
mod ops {
    pub(crate) mod layouts;
    pub(crate) mod support;
}

use halo_kernels::gpu::{Gpu, checks};
use std::time::Instant;

#[test]
fn every_op_is_the_cpu_s() {
    let gpu = Gpu::emulated().unwrap();
    let mut failed = Vec::new();
    for check in checks::ALL {
        let started = Instant::now();
        let found = (check.run)(&gpu);
        let (name, allowed) = (check.name, check.allowed);
        let seconds = started.elapsed().as_secs_f64();
        println!("{name:<45} {found:?} allowed {allowed:.0e}, {seconds:.2} s");
        match found {
            Ok(worst) if worst <= allowed => {}
            found => failed.push(format!("{name}: {found:?}")),
        }
    }
    gpu.synchronize().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(gpu.memory().unwrap().in_use, 0, "an op keeps memory");
}
