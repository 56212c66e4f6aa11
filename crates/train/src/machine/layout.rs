//! How a step is laid out: which sequences run together, and the straight list of what is done with them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use halo_loss::{Evaluation, Point, Scope, Source};

use super::numbers::Scores;
use super::plan::{Batch, StepPlan};
use super::setup::Setup;
use super::work::{Ask, Job, SequenceRef, Which};
use crate::plan::SyncMoment;

/// The forward passes of a step, where its micro-batches find their numbers in them, and the order of everything.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) parts: Vec<Part>,
    pub(super) batches: Vec<Places>,
    pub(super) tasks: VecDeque<Task>,
}

/// The sequences of one forward pass, with their log-probabilities once known.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) job: Arc<Job>,
    pub(super) policy: Scores,
    /// Zeros where no reference is asked.
    pub(super) reference: Scores,
}

/// Where a micro-batch's numbers are.
#[derive(Debug)]
pub(super) struct Places {
    /// The part whose first sequences are the rows.
    pub(super) main: usize,
    /// The sequences on which z₀ is estimated: a part, and which of it.
    pub(super) point: (usize, Range<usize>),
    /// z₀ once known, and the sums that it was made of; stays as it is for a loss without.
    pub(super) z0: Point,
    pub(super) sums: Vec<f64>,
    /// Of a loss that couples the units of a step: this micro-batch's share, once the whole step is evaluated.
    pub(super) evaluation: Option<Evaluation>,
}

#[derive(Clone, Debug)]
pub(super) enum Task {
    Forward {
        part: usize,
        model: Which,
        tape: bool,
    },
    /// z₀ of these micro-batches, together.
    Point(Range<usize>),
    /// The loss of the whole step at once.
    Whole,
    Backward {
        batch: usize,
    },
    Metrics,
    Gradients,
    /// The reference moves before the update.
    Sync,
    Update,
}

impl Layout {
    pub(super) fn new(setup: &Setup, plan: &StepPlan) -> Layout {
        let count = plan.batches.len();
        // One z₀ for several micro-batches must be known before the first backward.
        let point_first =
            setup.source != Source::None && setup.plan.scope == Scope::Step && count > 1;
        let mut layout = Layout {
            parts: Vec::new(),
            batches: Vec::new(),
            tasks: VecDeque::new(),
        };
        for batch in &plan.batches {
            let places = layout.place(setup, batch, point_first);
            layout.batches.push(places);
        }

        if point_first {
            for batch in 0..count {
                layout.forward(setup, layout.batches[batch].point.0, false);
            }
            layout.tasks.push_back(Task::Point(0..count));
        }
        let whole_first = setup.loss.couples() && (count > 1 || setup.plan.ranks > 1);
        // Of a micro-batch's own z₀, as soon as its rows are known.
        let point_apart = !point_first && setup.source != Source::None;
        if whole_first {
            for batch in 0..count {
                layout.forward(setup, layout.batches[batch].main, false);
                if point_apart {
                    layout.tasks.push_back(Task::Point(batch..batch + 1));
                }
            }
            layout.tasks.push_back(Task::Whole);
        }
        for batch in 0..count {
            layout.forward(setup, layout.batches[batch].main, true);
            if point_apart && !whole_first {
                layout.tasks.push_back(Task::Point(batch..batch + 1));
            }
            layout.tasks.push_back(Task::Backward { batch });
        }
        layout.tasks.extend([Task::Metrics, Task::Gradients]);
        if setup.syncs(plan.number, SyncMoment::Before) {
            layout.tasks.push_back(Task::Sync);
        }
        layout.tasks.push_back(Task::Update);
        layout
    }

    /// The forward passes of a micro-batch: y and y′ together, so that they share their prompts, unless y′ comes first.
    fn place(&mut self, setup: &Setup, batch: &Batch, point_first: bool) -> Places {
        let rows = batch.rows.len();
        let (main, point) = match setup.source {
            Source::Mismatched if point_first => {
                let apart = self.part(setup, mismatched(batch).collect());
                (self.part(setup, own(batch).collect()), (apart, 0..rows))
            }
            Source::Mismatched => {
                let both = self.part(setup, own(batch).chain(mismatched(batch)).collect());
                (both, (both, rows..2 * rows))
            }
            Source::Matched | Source::None => {
                let main = self.part(setup, own(batch).collect());
                (main, (main, 0..rows))
            }
        };
        Places {
            main,
            point,
            z0: Point::default(),
            sums: Vec::new(),
            evaluation: None,
        }
    }

    fn part(&mut self, setup: &Setup, sequences: Vec<SequenceRef>) -> usize {
        let job = Arc::new(match setup.ask {
            Ask::Scores => Job::for_scores(&setup.data, sequences),
            Ask::Sums | Ask::Tokens { .. } => Job::new(&setup.data, sequences),
        });
        self.parts.push(Part {
            policy: Scores::zeros(&job, setup.ask),
            reference: Scores::zeros(&job, setup.ask),
            job,
        });
        self.parts.len() - 1
    }

    /// Both models, the reference only once. Nothing for an empty share.
    fn forward(&mut self, setup: &Setup, part: usize, tape: bool) {
        if self.parts[part].job.sequences.is_empty() {
            return;
        }
        let asked = |task: &Task| matches!(task, Task::Forward { part: p, model: Which::Reference, .. } if *p == part);
        if setup.reference && !self.tasks.iter().any(asked) {
            self.tasks.push_back(Task::Forward {
                part,
                model: Which::Reference,
                tape: false,
            });
        }
        self.tasks.push_back(Task::Forward {
            part,
            model: Which::Policy,
            tape,
        });
    }
}

/// The examples of a micro-batch themselves.
fn own(batch: &Batch) -> impl Iterator<Item = SequenceRef> {
    batch.rows.iter().map(|&row| SequenceRef {
        prompt: row,
        completion: row,
        grad: true,
    })
}

/// Their prompts with the completions they meet; never differentiated.
fn mismatched(batch: &Batch) -> impl Iterator<Item = SequenceRef> {
    let pairs = batch.rows.iter().zip(&batch.partners);
    pairs.map(|(&prompt, &completion)| SequenceRef {
        prompt,
        completion,
        grad: false,
    })
}
