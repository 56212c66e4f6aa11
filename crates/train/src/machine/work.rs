//! The machine's questions and the answers to them: owned data only, so that any host can hold them.

use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::pack::{Pack, Sequence};
use crate::records::Dataset;

/// What is to be done next.
#[derive(Clone, Debug)]
pub enum Work {
    /// Compute log-probabilities. Answer: [`Answer::Logps`], one sum a sequence of the job.
    Forward {
        /// What to run.
        job: Arc<Job>,
        /// With which weights.
        model: Which,
        /// Whether a [`Work::Backward`] over the same job follows, before the next taped forward.
        tape: bool,
    },
    /// Add the numbers up over all ranks, element by element. Only with several ranks. Answer: [`Answer::Reduced`].
    Reduce {
        /// This rank's part.
        sums: Vec<f64>,
    },
    /// Add this job's gradient to the step's. Answer: [`Answer::Finished`].
    Backward {
        /// The job of the last taped forward.
        job: Arc<Job>,
        /// dL/dlogp a sequence of the job, already normalised over the whole step; 0 for what carries no gradient.
        dlogps: Vec<f64>,
    },
    /// Add the gradients up over all ranks, not averaging. Only with several ranks. Answer: [`Answer::Finished`].
    ReduceGradients,
    /// Clip, update the weights and zero the gradient. Answer: [`Answer::Stepped`].
    OptimizerStep {
        /// The update's number, from 1.
        step: u64,
        /// Its learning rate.
        learning_rate: f64,
    },
    /// Save everything, [`Machine::state`](super::Machine::state) included. Answer: [`Answer::Finished`].
    Checkpoint {
        /// Steps completed.
        step: u64,
    },
    /// The run is over; nothing is to be answered.
    Done,
}

/// The weights of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The model that is trained.
    Policy,
    /// The frozen one. Its log-probabilities may come from a cache.
    Reference,
}

/// What a host says when it is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Work::Forward`]: per sequence of the job, the sum over its scored tokens, nats.
    Logps(Vec<f64>),
    /// To [`Work::Reduce`].
    Reduced(Vec<f64>),
    /// To [`Work::Backward`], [`Work::ReduceGradients`] and [`Work::Checkpoint`].
    Finished,
    /// To [`Work::OptimizerStep`].
    Stepped {
        /// Norm of the whole gradient before clipping.
        grad_norm: f64,
    },
}

impl Answer {
    /// The variant's name, for errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Answer::Logps(_) => "Logps",
            Answer::Reduced(_) => "Reduced",
            Answer::Finished => "Finished",
            Answer::Stepped { .. } => "Stepped",
        }
    }
}

/// The sequences of one forward pass, laid out.
#[derive(Clone, Debug)]
pub struct Job {
    /// The rows to compute.
    pub pack: Pack,
    /// Whose they are; in the order of the pack's sequences.
    pub sequences: Vec<SequenceRef>,
}

/// A sequence by the records it comes from: the key under which a reference's log-probability may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceRef {
    /// The record whose prompt it is.
    pub prompt: usize,
    /// The record whose completion it is.
    pub completion: usize,
    /// Whether it carries gradient.
    pub grad: bool,
}

impl Job {
    /// The pack of some sequences of the data set.
    pub fn new(data: &Dataset, sequences: Vec<SequenceRef>) -> Job {
        let tokens: Vec<Sequence> = sequences
            .iter()
            .map(|sequence| Sequence {
                prompt: &data.records[sequence.prompt].prompt,
                completion: &data.records[sequence.completion].completion,
                grad: sequence.grad,
            })
            .collect();
        Job {
            pack: Pack::build(&tokens, true),
            sequences,
        }
    }
}

impl Work {
    /// The error for an answer of another kind.
    pub(super) fn unexpected(&self, answer: &Answer) -> Error {
        let (asked, expected) = match self {
            Work::Forward { .. } => ("Forward", "Logps"),
            Work::Reduce { .. } => ("Reduce", "Reduced"),
            Work::Backward { .. } => ("Backward", "Finished"),
            Work::ReduceGradients => ("ReduceGradients", "Finished"),
            Work::OptimizerStep { .. } => ("OptimizerStep", "Stepped"),
            Work::Checkpoint { .. } => ("Checkpoint", "Finished"),
            Work::Done => ("Done", "nothing"),
        };
        let message = format!(
            "{asked} was asked and expects {expected}, not {}",
            answer.name()
        );
        Error::new(Kind::Protocol, message)
    }
}
