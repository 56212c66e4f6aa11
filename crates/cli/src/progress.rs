//! Progress: a bar on a terminal, plain lines otherwise.

use std::time::{Duration, Instant};

use halo_core::session::Step;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// Plain lines come at most this often, and after the first and last step.
const INTERVAL: Duration = Duration::from_secs(5);

/// The progress of something with a known number of steps.
pub(crate) struct Progress<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    total: u64,
    spoken: Option<Instant>,
    speed: Speed,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(
        output: &'a Output,
        what: &'static str,
        done: u64,
        total: u64,
    ) -> Progress<'a> {
        let bar = output.draws().then(|| {
            let bar = ProgressBar::new(total)
                .with_position(done)
                .with_prefix(what);
            if let Ok(style) = ProgressStyle::with_template(
                "{prefix} {wide_bar:.cyan/dim} {pos}/{len} {eta_precise} {msg}",
            ) {
                bar.set_style(style);
            }
            bar
        });
        Progress {
            output,
            bar,
            total,
            spoken: None,
            speed: Speed::default(),
        }
    }

    /// So many are done.
    pub(crate) fn at(&mut self, done: u64, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.due(done) {
            self.output
                .note(format_args!("{what} {done}/{}", self.total));
        }
    }

    /// A training step is done.
    pub(crate) fn step(&mut self, step: &Step) {
        let metrics = &step.metrics;
        self.speed.add(metrics.tokens, step.step_seconds);
        let mut words = format!("loss {:.4}", metrics.loss);
        if let Some(kl) = metrics.kl {
            words += &format!("  z0 {kl:.3}");
        }
        if let Some(margin) = metrics.rewards_margins {
            words += &format!("  margin {margin:+.3}");
        }
        words += &format!("  {:.0} tokens/s", self.speed.per_second());
        if let Some(bar) = &self.bar {
            bar.set_position(metrics.step);
            bar.set_message(words);
        } else if self.output.json {
            self.output.line(step);
        } else if self.due(metrics.step) {
            self.output.note(format_args!(
                "step {}/{}  {words}",
                metrics.step, self.total
            ));
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn due(&mut self, done: u64) -> bool {
        let due = done >= self.total
            || self
                .spoken
                .is_none_or(|spoken| spoken.elapsed() >= INTERVAL);
        if due {
            self.spoken = Some(Instant::now());
        }
        due
    }
}

/// Tokens per second, recent steps counting most.
#[derive(Default)]
struct Speed {
    tokens: f64,
    seconds: f64,
}

impl Speed {
    fn add(&mut self, tokens: u64, seconds: f64) {
        const KEEP: f64 = 0.9;
        self.tokens = self.tokens * KEEP + tokens as f64;
        self.seconds = self.seconds * KEEP + seconds;
    }

    fn per_second(&self) -> f64 {
        self.tokens / self.seconds.max(1e-9)
    }
}
