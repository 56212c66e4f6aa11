//! The CUDA kernels on the emulated GPU, held to the CPU's ops; and the GPU's runtime.

#[path = "gpu/arguments.rs"]
mod arguments;
#[path = "gpu/runtime.rs"]
mod runtime;

use halo_kernels::gpu::{Gpu, checks};

#[test]
fn every_op_is_the_cpu_s() {
    let gpu = Gpu::emulated().unwrap();
    let mut failed = Vec::new();
    for check in checks::ALL {
        let found = (check.run)(&gpu);
        println!("{:<50} {found:?} allowed {:.0e}", check.name, check.allowed);
        match found {
            Ok(worst) if worst <= check.allowed => {}
            found => failed.push(format!("{}: {found:?}", check.name)),
        }
    }
    gpu.synchronize().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(gpu.memory().unwrap().in_use, 0, "an op keeps memory");
}
