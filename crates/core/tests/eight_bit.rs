//! What 8-bit moments cost in quality: the losses of a run stay close to those with f32 moments.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use halo_core::config::TrainConfig;
use runs::{Scratch, base, lines, lora, run};

#[path = "support/runs.rs"]
mod runs;

/// Losses step by step: of a run that learns about a third of the loss away, or a thirtieth with adapters.
fn losses(scratch: &Scratch, loss: &str, adapters: bool, optim: &str) -> Vec<f64> {
    let config = TrainConfig {
        optim: optim.into(),
        per_device_train_batch_size: 16,
        max_steps: Some(40),
        save_steps: 1000,
        ..base(loss, scratch.path(optim))
    };
    let config = if adapters { lora(config) } else { config };
    run(&config, false, None);
    let lines = lines(&config);
    lines
        .iter()
        .map(|line| line["loss"].as_f64().unwrap())
        .collect()
}

#[test]
fn losses_stay_close_to_those_of_f32_moments() {
    for loss in ["kto", "dpo", "sft"] {
        for adapters in [false, true] {
            let scratch = Scratch::new(&format!("8bit-{loss}-{adapters}"));
            let wide = losses(&scratch, loss, adapters, "adamw");
            let narrow = losses(&scratch, loss, adapters, "adamw_8bit");
            let learned = wide[0] - wide[wide.len() - 1];
            let apart = wide.iter().zip(&narrow).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0.0, f64::max);
            println!("{loss}, adapters {adapters}: {learned:.4} learned, {apart:.1e} apart");
            // Measured: up to 0.1 % of what is learned, 0.4 % with adapters.
            assert!(learned > 0.005, "{wide:?}");
            assert!(apart < 0.01 * learned, "{wide:?}\n{narrow:?}");
            // Rounded they are.
            assert!(apart > 1e-6 * learned, "{wide:?}");
        }
    }
}
