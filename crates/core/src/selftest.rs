//! A device proves itself: every op against the CPU's, whole runs against the CPU's, resuming, generating, running out of memory.
//!
//! Needs no model and no network: weights and data are drawn from a seed, in a temporary folder.

mod fixture;
mod runs;

use std::time::Instant;

use halo_kernels::gpu::{Dtype, Gpu, checks};
use serde::Serialize;

use crate::device::Device;
use crate::optimizer::Optim;
use crate::{Error, Result};
use fixture::Fixture;

/// One line of the table: how far the device is from the CPU.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// The largest deviation found, relative to the largest expected number; absent if the check broke off.
    pub worst: Option<f64>,
    /// The deviation that is allowed.
    pub allowed: f64,
    /// Wall time.
    pub seconds: f64,
    /// Why it failed.
    pub problem: Option<String>,
}

impl Check {
    /// Whether the device did what it should.
    pub fn passed(&self) -> bool {
        self.problem.is_none()
    }
}

/// Runs every check on the device of a name (`cuda:0`), telling each as it ends; the CPU is held to itself only in whole runs.
///
/// # Errors
/// A device that is not there, or a temporary folder that cannot be written. A check that fails is no error: see [`Check::passed`].
pub fn run(device: &str, mut each: impl FnMut(&Check)) -> Result<Vec<Check>> {
    let mut all = Vec::new();
    let mut tell = |check: Check| {
        each(&check);
        all.push(check);
    };
    let gpu = match Device::open(device)? {
        Device::Cpu => None,
        Device::Gpu(gpu) => Some(gpu),
    };
    if let Some(gpu) = &gpu {
        for check in checks::ALL {
            let run = || Ok((check.run)(gpu)?);
            tell(measure(check.name, check.allowed, run));
        }
    }
    let fixture = Fixture::new()?;
    for trial in runs::trials(device) {
        let (name, allowed) = (trial.name(), trial.allowed());
        tell(measure(&name, allowed, || trial.run(&fixture)));
    }
    for optim in Optim::ALL {
        let name = format!("resumed run = whole run, {}", optim.name());
        tell(measure(&name, 0.0, || {
            runs::resume(device, optim, &fixture)
        }));
    }
    tell(measure(
        "generation = training log-probabilities",
        1e-4,
        || runs::generation(device, &fixture),
    ));
    if let Some(gpu) = &gpu {
        tell(measure(
            "out of memory is an error, and work goes on",
            0.0,
            || exhaust(gpu),
        ));
    }
    Ok(all)
}

/// Times a check, and judges what it found.
fn measure(name: &str, allowed: f64, work: impl FnOnce() -> Result<f64>) -> Check {
    let started = Instant::now();
    let found = work();
    let problem = match &found {
        Ok(worst) if *worst <= allowed => None,
        Ok(worst) => Some(format!("off by {worst:.1e}; allowed: {allowed:.1e}")),
        Err(error) => Some(error.to_string()),
    };
    Check {
        name: name.into(),
        worst: found.ok(),
        allowed,
        seconds: started.elapsed().as_secs_f64(),
        problem,
    }
}

/// Asks for more than the device has, then for a little.
fn exhaust(gpu: &Gpu) -> Result<f64> {
    let before = gpu.memory()?.in_use;
    // No device has an exbibyte.
    match gpu.alloc(Dtype::U8, 1 << 60) {
        Err(error) if error.is_out_of_memory() => {}
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(Error::internal("more memory was given than there is")),
    }
    let small = gpu.upload(&[1.0, 2.0])?;
    if small.download()? != [1.0, 2.0] || gpu.memory()?.in_use < before {
        return Err(Error::internal("the device is damaged"));
    }
    Ok(0.0)
}
