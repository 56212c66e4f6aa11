//! The whole engine on the emulated GPU: `halo selftest` itself, and every kind of run that the CPU has.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use halo_core::selftest;

#[test]
fn the_selftest_passes() {
    let checks = selftest::run("emulated", |check| {
        let problem = check.problem.as_deref().unwrap_or("");
        println!(
            "{:<60} {:>9.1e} {:>6.1} s {problem}",
            check.name,
            check.worst.unwrap_or(f64::NAN),
            check.seconds
        );
    })
    .unwrap();
    assert!(checks.len() > 10);
    assert!(checks.iter().all(selftest::Check::passed));
}
