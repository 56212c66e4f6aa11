//! Whole runs on the device, against the CPU's.

use std::path::PathBuf;

use halo_train::{Pack, Sequence, StepMetrics};

use super::fixture::Fixture;
use crate::config::TrainConfig;
use crate::device::Placement;
use crate::generate::{Sampling, generate};
use crate::models::{Readout, Training, load_for};
use crate::optimizer::Optim;
use crate::session::Session;
use crate::{Error, Result};

/// Optimiser steps of a run; the emulated GPU is thousands of times slower than a real one.
fn steps(device: &str) -> u64 {
    match device {
        "emulated" => 3,
        _ => 20,
    }
}

/// One run: a loss, full or LoRA, on a device with a dtype.
pub(super) struct Trial {
    device: String,
    paired: bool,
    lora: bool,
    optim: Optim,
    dtype: &'static str,
}

/// Both kinds of data, full and LoRA, and 8-bit moments, in every dtype that the device has.
pub(super) fn trials(device: &str) -> Vec<Trial> {
    let dtypes: &[&'static str] = match device {
        "cpu" => &["f32"],
        _ => &["f32", "bf16"],
    };
    let trial = |&dtype, (paired, lora, optim)| Trial {
        device: device.into(),
        paired,
        lora,
        optim,
        dtype,
    };
    let kinds = [
        (false, false, Optim::AdamW),
        (false, true, Optim::AdamW),
        (true, false, Optim::AdamW),
        (true, true, Optim::AdamW),
        (false, false, Optim::AdamW8bit),
    ];
    dtypes
        .iter()
        .flat_map(|dtype| kinds.map(|kind| trial(dtype, kind)))
        .collect()
}

impl Trial {
    pub(super) fn name(&self) -> String {
        let data = if self.paired { "pairs" } else { "feedback" };
        let what = if self.lora { "LoRA" } else { "full" };
        let steps = steps(&self.device);
        format!(
            "{steps} steps on {data}, {what}, {}, {}",
            self.optim.name(),
            self.dtype
        )
    }

    /// bf16 has eight bits of significand: a run keeps to its f32 twin only so far.
    pub(super) fn allowed(&self) -> f64 {
        match self.dtype {
            "f32" => 1e-3,
            _ => 5e-2,
        }
    }

    /// The largest deviation of a loss, gradient norm or reward from the CPU's: relative to the metric's largest value in the
    /// run, absolute where that is below one, since rewards begin at zero.
    pub(super) fn run(&self, fixture: &Fixture) -> Result<f64> {
        let on = |device: &str, dtype: &str, kind: &str| TrainConfig {
            max_steps: Some(steps(&self.device)),
            ..self.config(fixture, device, dtype, kind)
        };
        let expected = train(on("cpu", "f32", "expected"), false, None)?;
        let found = train(on(&self.device, self.dtype, "found"), false, None)?;
        let numbers = |m: &StepMetrics| {
            let rewards = [m.rewards_chosen, m.rewards_rejected, m.kl_raw];
            let mut all = vec![m.loss, m.grad_norm];
            all.extend(rewards.into_iter().flatten());
            all
        };
        let mut worst = 0f64;
        for at in 0..numbers(&expected[0]).len() {
            let column = |steps: &[StepMetrics]| -> Vec<f64> {
                steps
                    .iter()
                    .filter_map(|m| numbers(m).get(at).copied())
                    .collect()
            };
            let (expected, found) = (column(&expected), column(&found));
            let scale = expected.iter().fold(1f64, |scale, x| scale.max(x.abs()));
            for (x, y) in expected.iter().zip(&found) {
                worst = worst.max((x - y).abs() / scale);
            }
        }
        match worst.is_finite() && expected.len() == found.len() {
            true => Ok(worst),
            false => Err(Error::internal("the run gave numbers that are not finite")),
        }
    }

    fn config(&self, fixture: &Fixture, device: &str, dtype: &str, kind: &str) -> TrainConfig {
        let data = if self.paired { "pairs" } else { "feedback" };
        let (lora, optim) = (self.lora, self.optim.name());
        let out = format!("{kind}-{data}-{lora}-{optim}-{}", self.dtype);
        TrainConfig {
            optim: optim.into(),
            reference: (!self.lora).then(|| fixture.reference()),
            lora_r: self.lora.then_some(8),
            learning_rate: if self.lora { 1e-3 } else { 2e-4 },
            gradient_checkpointing: self.paired,
            ..base(fixture, data, device, dtype, out)
        }
    }
}

fn base(fixture: &Fixture, data: &str, device: &str, dtype: &str, out: String) -> TrainConfig {
    // The losses are the two families' firsts in the registry: of labels, and of pairs with a reference.
    let shape = match data {
        "pairs" => halo_loss::DataShape::Paired,
        _ => halo_loss::DataShape::Unpaired,
    };
    let loss = halo_loss::registry()
        .iter()
        .find(|spec| spec.shape == shape)
        .map_or_else(|| TrainConfig::default().loss, |spec| spec.name.into());
    TrainConfig {
        model: fixture.policy(),
        data: vec![fixture.data(data)],
        loss,
        per_device_train_batch_size: 4,
        gradient_accumulation_steps: 2,
        device: device.into(),
        dtype: dtype.into(),
        output_dir: fixture.run(&out),
        ..TrainConfig::default()
    }
}

/// Runs to the end, or until so many steps are done.
fn train(config: TrainConfig, resume: bool, until: Option<u64>) -> Result<Vec<StepMetrics>> {
    let mut session = Session::open(config, resume)?;
    let mut steps = Vec::new();
    while until.is_none_or(|until| session.completed_steps() < until) {
        match session.step()? {
            Some(step) => steps.push(step.metrics),
            None => break,
        }
    }
    Ok(steps)
}

/// A run that is interrupted after a checkpoint and resumed ends with the same numbers, to the bit.
pub(super) fn resume(device: &str, optim: Optim, fixture: &Fixture) -> Result<f64> {
    let config = |name: &str| TrainConfig {
        optim: optim.name().into(),
        reference: Some(fixture.reference()),
        max_steps: Some(4),
        save_steps: 2,
        ..base(
            fixture,
            "feedback",
            device,
            "f32",
            format!("{name}-{}", optim.name()),
        )
    };
    let whole = train(config("whole"), false, None)?;
    train(config("cut"), false, Some(3))?;
    let rest = train(config("cut"), true, None)?;
    let tail = &whole[whole.len() - rest.len()..];
    let worst = tail
        .iter()
        .zip(&rest)
        .map(|(x, y)| {
            (x.loss - y.loss)
                .abs()
                .max((x.grad_norm - y.grad_norm).abs())
        })
        .fold(0.0, f64::max);
    match rest.is_empty() {
        false => Ok(worst),
        true => Err(Error::internal("nothing was left to resume")),
    }
}

/// The log-probabilities that generation reports are those that training computes of the same tokens.
pub(super) fn generation(device: &str, fixture: &Fixture) -> Result<f64> {
    let placement = Placement::open(device, "f32")?;
    let folder: PathBuf = fixture.policy();
    let model = load_for(&folder, &Training::Frozen, Readout::Logps, 0, &placement)?.decoder;
    let prompts: Vec<Vec<u32>> = vec![vec![5], vec![9, 8, 7, 6, 5, 4], (3..60).collect()];
    let sampling = Sampling {
        max_new_tokens: 24,
        ..Sampling::default()
    };
    let completions = generate(&model, &prompts, &[2], &sampling, |_| ())?;
    let mut worst = 0f64;
    for (prompt, completion) in prompts.iter().zip(&completions) {
        let sequence = Sequence {
            prompt,
            completion: &completion.tokens,
            grad: false,
        };
        let (logps, _) = model.forward(&Pack::build(&[sequence], true), false)?;
        for (x, y) in completion.logps.iter().zip(&logps) {
            worst = worst.max((x - f64::from(*y)).abs() / x.abs().max(1.0));
        }
    }
    Ok(worst)
}
