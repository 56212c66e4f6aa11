//! What to do next in alignment training, without doing it.
//!
//! No device, no files, no clock: records, pairing, packs, schedules and the training machine are plain data and pure
//! functions, so the same loop serves the engine's own session and hosts that own the model.
//!
//! The host of a machine owns the model. This one believes that every token has probability ½:
//!
//! ```
//! use std::sync::Arc;
//! use halo_loss::{Label, Loss, Params};
//! use halo_train::{Answer, Dataset, Gradient, Machine, Record, RunPlan, Unit, Work};
//!
//! let record = |id: &str, prompt, completion, label| Record {
//!     id: id.into(), prompt: vec![prompt], completion: vec![completion, 0], label, ..Record::default()
//! };
//! let records = vec![record("a", 1, 5, Label::Desirable), record("b", 2, 6, Label::Undesirable)];
//! let data = Arc::new(Dataset::new(records, vec![Unit::Single(0), Unit::Single(1)])?);
//! let loss = Loss::new("kto", &Params::new()).expect("kto is registered");
//!
//! let mut machine = Machine::new(RunPlan { batch_size: 2, ..RunPlan::default() }, data, loss)?;
//! loop {
//!     let answer = match machine.next()? {
//!         Work::Forward { job, .. } => {
//!             // y and y′ of both examples, each prompt computed once
//!             assert_eq!((job.pack.sequences, job.pack.rows()), (4, 2 + 4));
//!             let per_score = vec![0.5f32.ln(); job.pack.scores.len()];
//!             Answer::Logps(job.pack.sum_logps(&per_score))
//!         }
//!         // What is desirable is to become likelier: its gradient is negative.
//!         Work::Backward { job, dlogps } => {
//!             let Gradient::Sequences(dlogps) = dlogps else { unreachable!("kto has one number a sequence") };
//!             assert!(job.sequences.iter().zip(&dlogps).any(|(s, &d)| s.completion == 0 && d < 0.0));
//!             Answer::Finished
//!         }
//!         Work::OptimizerStep { .. } => Answer::Stepped { grad_norm: 0.0 },
//!         Work::Reduce { sums } => Answer::Reduced(sums), // never, with one rank
//!         Work::ReduceGradients | Work::SyncReference { .. } | Work::Checkpoint { .. } => Answer::Finished,
//!         Work::Done => break,
//!     };
//!     machine.submit(answer)?;
//! }
//! assert_eq!(machine.take_metrics().and_then(|metrics| metrics.kl), Some(0.0));
//! # Ok::<(), halo_train::Error>(())
//! ```

mod error;
pub mod examples;
pub mod machine;
pub mod metrics;
mod order;
pub mod pack;
pub mod pairing;
mod plan;
pub mod ramp;
pub mod records;
pub mod rng;
pub mod schedule;

pub use error::Error;
pub use examples::{ExampleHeader, ExampleRecord};
pub use machine::{
    Answer, Ask, Job, Machine, MachineState, SequenceRef, TokenAnswer, Which, Work, needs_reference,
};
pub use metrics::{Clamped, StepMetrics};
pub use order::Order;
pub use pack::{Gradient, Pack, Score, Segment, Sequence};
pub use pairing::Mismatch;
pub use plan::{GradientReduce, ReferenceSync, RunPlan, SyncMoment};
pub use ramp::{Ramp, RampShape};
pub use records::{Dataset, Record, Unit};
pub use rng::Rng;
pub use schedule::Schedule;
