//! The machine's questions and the answers to them: owned data only, so that any host can hold them.

use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::pack::{Gradient, Pack, Score, Sequence};
use crate::records::Dataset;

/// What is to be done next.
#[derive(Clone, Debug)]
pub enum Work {
    /// Compute log-probabilities. Answer: [`Answer::Logps`] or [`Answer::Tokens`], as `ask` says.
    Forward {
        /// What to run.
        job: Arc<Job>,
        /// With which weights.
        model: Which,
        /// What is to come back.
        ask: Ask,
        /// Whether a [`Work::Backward`] over the same job follows, before the next taped forward.
        tape: bool,
    },
    /// Add the numbers up over all ranks, element by element; every rank must answer with the same bits. Only with several ranks.
    /// Answer: [`Answer::Reduced`].
    Reduce {
        /// This rank's part, with the slots that say whether it failed.
        sums: Vec<f64>,
    },
    /// Add this job's gradient to the step's. Answer: [`Answer::Finished`].
    Backward {
        /// The job of the last taped forward.
        job: Arc<Job>,
        /// dL/dlogp (or dL/dscore) of the job's sequences, already normalised over the whole step; 0 for what carries none.
        dlogps: Gradient,
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
    /// Move the reference towards the policy: π_ref := mix·π + (1 − mix)·π_ref. Answer: [`Answer::Finished`].
    SyncReference {
        /// κ, in 0 (exclusive) to 1.
        mix: f64,
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

/// What a forward pass is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// One log-probability a sequence: [`Answer::Logps`].
    Sums,
    /// One a scored token: [`Answer::Tokens`].
    Tokens {
        /// Also ln Σ_v p_v² of the distribution over the vocabulary at each token.
        collisions: bool,
    },
    /// One score of the reward head a sequence, at its last token: [`Answer::Logps`] holds them.
    Scores,
}

impl Ask {
    /// What answers both: sums are sums of tokens.
    pub(super) fn and(self, other: Ask) -> Ask {
        match (self, other) {
            (Ask::Tokens { collisions: a }, Ask::Tokens { collisions: b }) => {
                Ask::Tokens { collisions: a || b }
            }
            (Ask::Sums, other) => other,
            (this, _) => this,
        }
    }
}

/// Numbers per scored token, sequence after sequence of the job, each sequence's tokens in turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenAnswer {
    /// Log-probabilities, nats.
    pub logps: Vec<f64>,
    /// ln Σ_v p_v², if asked for; else empty.
    pub log_collisions: Vec<f64>,
}

/// What a host says when it is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Work::Forward`]: per sequence of the job, the sum over its scored tokens, nats (or its score).
    Logps(Vec<f64>),
    /// To [`Work::Forward`] that asks for tokens.
    Tokens(TokenAnswer),
    /// To [`Work::Reduce`].
    Reduced(Vec<f64>),
    /// To [`Work::Backward`], [`Work::ReduceGradients`], [`Work::SyncReference`] and [`Work::Checkpoint`].
    Finished,
    /// To [`Work::OptimizerStep`].
    Stepped {
        /// Norm of the whole gradient before clipping.
        grad_norm: f64,
    },
    /// To anything: it could not be done. Of a forward or backward pass every rank learns at the next sum, and the step is offered
    /// again; a sum or an update over several ranks that fails ends the run; other work is offered again at once.
    Failed {
        /// Anything that tells the host's failures apart.
        code: i32,
    },
}

impl Ask {
    fn answer(self) -> &'static str {
        match self {
            Ask::Sums | Ask::Scores => "Logps",
            Ask::Tokens { .. } => "Tokens",
        }
    }
}

impl Answer {
    /// The variant's name, for errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Answer::Logps(_) => "Logps",
            Answer::Tokens(_) => "Tokens",
            Answer::Reduced(_) => "Reduced",
            Answer::Finished => "Finished",
            Answer::Stepped { .. } => "Stepped",
            Answer::Failed { .. } => "Failed",
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
        let tokens: Vec<Sequence> = sequences.iter().map(|sequence| sequence.of(data)).collect();
        let pack = Pack::build(&tokens, true);
        Job { pack, sequences }
    }

    /// The same for a reward head: each sequence is read at its last token, and scored there only.
    pub fn for_scores(data: &Dataset, sequences: Vec<SequenceRef>) -> Job {
        // The last token of a sequence predicts nothing and has no row, unless another one follows.
        let of = |sequence: &SequenceRef| {
            [&data.records[sequence.completion].completion[..], &[0]].concat()
        };
        let longer: Vec<Vec<u32>> = sequences.iter().map(of).collect();
        let tokens = sequences.iter().zip(&longer);
        let tokens: Vec<Sequence> = tokens
            .map(|(sequence, completion)| Sequence {
                completion,
                ..sequence.of(data)
            })
            .collect();
        let mut pack = Pack::build(&tokens, true);
        let mut left = pack.scored_tokens();
        pack.scores.retain(|score| {
            let left = &mut left[score.seq as usize];
            *left -= 1;
            *left == 0
        });
        let graded = |score: &&Score| sequences[score.seq as usize].grad;
        pack.grad_scores = pack.scores.iter().filter(graded).count() as u32;
        Job { pack, sequences }
    }
}

impl SequenceRef {
    fn of<'a>(&self, data: &'a Dataset) -> Sequence<'a> {
        Sequence {
            prompt: &data.records[self.prompt].prompt,
            completion: &data.records[self.completion].completion,
            grad: self.grad,
        }
    }
}

impl Work {
    /// The variant's name, for errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Work::Forward { .. } => "Forward",
            Work::Reduce { .. } => "Reduce",
            Work::Backward { .. } => "Backward",
            Work::ReduceGradients => "ReduceGradients",
            Work::OptimizerStep { .. } => "OptimizerStep",
            Work::SyncReference { .. } => "SyncReference",
            Work::Checkpoint { .. } => "Checkpoint",
            Work::Done => "Done",
        }
    }

    /// The error for an answer of another kind.
    pub(super) fn unexpected(&self, answer: &Answer) -> Error {
        let expected = match self {
            Work::Forward { ask, .. } => ask.answer(),
            Work::Reduce { .. } => "Reduced",
            Work::OptimizerStep { .. } => "Stepped",
            Work::Done => "nothing",
            Work::Backward { .. }
            | Work::ReduceGradients
            | Work::SyncReference { .. }
            | Work::Checkpoint { .. } => "Finished",
        };
        let message = format!(
            "{} was asked and expects {expected}, not {}",
            self.name(),
            answer.name()
        );
        Error::new(Kind::Protocol, message)
    }
}
