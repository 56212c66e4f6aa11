//! One optimiser step under way: its tasks in order, and what has been answered so far.

mod coupled;

use std::collections::VecDeque;
use std::ops::Range;

use halo_loss::{Evaluation, Point, Row, evaluate};

use super::failure::{Failed, with_slots, without_slots};
use super::layout::{Layout, Part, Places, Task};
use super::limit::limit;
use super::numbers::{Numbers, Scores};
use super::plan::StepPlan;
use super::setup::Setup;
use super::whole::Whole;
use super::work::{Ask, Job, Which, Work};
use crate::error::{Error, Kind};
use crate::examples::ExampleRecord;
use crate::metrics::{StepMetrics, Sums};
use crate::pack::Gradient;

#[derive(Debug)]
pub(super) struct Step {
    plan: StepPlan,
    parts: Vec<Part>,
    batches: Vec<Places>,
    tasks: VecDeque<Task>,
    sums: Sums,
    examples: Vec<ExampleRecord>,
    /// What the reference point's estimator remembers, this step included as far as it is known.
    memory: Vec<f64>,
    /// Why this rank only waits for the next sum over the ranks.
    failed: Option<Failed>,
}

impl Step {
    pub(super) fn new(setup: &Setup, plan: StepPlan, memory: Vec<f64>) -> Step {
        let Layout {
            parts,
            batches,
            tasks,
        } = Layout::new(setup, &plan);
        Step {
            plan,
            parts,
            batches,
            tasks,
            sums: Sums::default(),
            examples: Vec::new(),
            memory,
            failed: None,
        }
    }

    /// The next question; what needs nobody else is done on the way.
    ///
    /// # Errors
    /// Numbers that are not finite; with several ranks they fail this rank first.
    pub(super) fn ask(&mut self, setup: &Setup) -> Result<Option<Work>, Error> {
        match self.question(setup) {
            Err(error) if setup.plan.ranks > 1 => {
                self.failed = Some(Failed::here(&error));
                self.question(setup)
            }
            asked => asked,
        }
    }

    /// This rank does nothing more before the next sum over the ranks.
    pub(super) fn fail(&mut self, failed: Failed) {
        self.failed = Some(failed);
        self.finished();
    }

    fn question(&mut self, setup: &Setup) -> Result<Option<Work>, Error> {
        let alone = setup.plan.ranks == 1;
        let reduce = |sums: Vec<f64>, failed: bool| {
            let sums = with_slots(sums, setup.plan.rank, failed);
            Ok(Some(Work::Reduce { sums }))
        };
        while let Some(task) = self.tasks.front().cloned() {
            if self.failed.is_none() {
                break;
            }
            match self.width(setup, &task) {
                Some(width) => return reduce(vec![0.0; width], true),
                None => self.finished(),
            }
        }
        while let Some(task) = self.tasks.front().cloned() {
            match task {
                Task::Forward { part, model, tape } => {
                    let job = self.parts[part].job.clone();
                    let ask = match (model, setup.ask) {
                        // Only the policy's spread over the vocabulary is read.
                        (Which::Reference, Ask::Tokens { .. }) => Ask::Tokens { collisions: false },
                        (_, ask) => ask,
                    };
                    return Ok(Some(Work::Forward {
                        job,
                        model,
                        ask,
                        tape,
                    }));
                }
                Task::Point(batches) => {
                    let sums = self.point_sums(setup, batches)?;
                    if !alone {
                        return reduce(sums, false);
                    }
                    self.summed(setup, &sums)?;
                }
                Task::Whole => {
                    let rows = self.all_rows(setup)?;
                    if !alone {
                        return reduce(rows, false);
                    }
                    self.summed(setup, &rows)?;
                }
                Task::Backward { batch } => match self.evaluate(setup, batch)? {
                    Some(work) => return Ok(Some(work)),
                    None => self.finished(),
                },
                Task::Metrics if alone => self.finished(),
                Task::Metrics => return reduce(self.sums.to_vec(), false),
                Task::Gradients if alone => self.finished(),
                Task::Gradients => return Ok(Some(Work::ReduceGradients)),
                Task::Sync => {
                    let mix = setup.plan.reference_sync.map_or(1.0, |sync| sync.mix);
                    return Ok(Some(Work::SyncReference { mix }));
                }
                Task::Update => {
                    let StepPlan {
                        number: step,
                        learning_rate,
                        ..
                    } = self.plan;
                    return Ok(Some(Work::OptimizerStep {
                        step,
                        learning_rate,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The task in hand is done.
    pub(super) fn finished(&mut self) {
        self.tasks.pop_front();
    }

    /// The log-probabilities of a forward pass came.
    pub(super) fn scored(
        &mut self,
        setup: &Setup,
        job: &Job,
        model: Which,
        scores: Scores,
    ) -> Result<(), Error> {
        let logps = &scores.sums;
        if logps.len() != job.sequences.len() {
            let (got, wanted) = (logps.len(), job.sequences.len());
            let message =
                format!("Forward expects {wanted} log-probabilities, one a sequence, not {got}");
            return Err(Error::new(Kind::Protocol, message));
        }
        if let Some((sequence, logp)) = job
            .sequences
            .iter()
            .zip(logps)
            .find(|(_, logp)| !logp.is_finite())
        {
            let records = &setup.data.records;
            let (x, y) = (
                &records[sequence.prompt].id,
                &records[sequence.completion].id,
            );
            let (who, step) = (format!("{model:?}").to_lowercase(), self.plan.number);
            let message = format!(
                "step {step}: the {who}'s log-probability of {y:?} after the prompt of {x:?} is {logp}"
            );
            return Err(Error::new(Kind::Numeric, message).at(Some(sequence.prompt)));
        }
        if let Some(&Task::Forward { part, .. }) = self.tasks.front() {
            match model {
                Which::Reference => self.parts[part].reference = scores,
                Which::Policy => {
                    self.parts[part].policy = scores;
                    self.sums.add_tokens(job.pack.rows());
                }
            }
        }
        self.finished();
        Ok(())
    }

    /// How many numbers a task adds up over the ranks; none for one that adds nothing up.
    fn width(&self, setup: &Setup, task: &Task) -> Option<usize> {
        match task {
            Task::Point(_) => {
                let estimator = self.plan.loss.reference_point();
                Some(estimator.map_or(0, |estimator| estimator.sums(self.plan.groups).len()))
            }
            Task::Whole => Some(Whole::new(setup, &self.plan.rows).numbers.len()),
            Task::Metrics => Some(Sums::WIDTH),
            _ => None,
        }
    }

    /// The sums over all ranks came.
    ///
    /// # Errors
    /// Another count; a rank that failed: then the step is to be dropped; a sum that is not finite.
    pub(super) fn reduced(
        &mut self,
        setup: &Setup,
        wanted: usize,
        sums: &[f64],
    ) -> Result<(), Error> {
        if sums.len() != wanted {
            let message = format!(
                "Reduce expects {wanted} numbers, as many as it gave, not {}",
                sums.len()
            );
            return Err(Error::new(Kind::Protocol, message));
        }
        let sums = without_slots(sums, setup.plan.rank, self.failed.as_ref())?;
        self.summed(setup, sums)
    }

    fn summed(&mut self, setup: &Setup, sums: &[f64]) -> Result<(), Error> {
        if let Some(sum) = sums.iter().find(|sum| !sum.is_finite()) {
            let message = format!("step {}: a sum over the ranks is {sum}", self.plan.number);
            return Err(Error::new(Kind::Numeric, message));
        }
        match self.tasks.front().cloned() {
            Some(Task::Point(batches)) => {
                if let Some(estimator) = self.plan.loss.reference_point() {
                    let z0 = estimator.finish(sums, &mut self.memory);
                    for batch in &mut self.batches[batches] {
                        batch.z0 = z0;
                        batch.sums = sums.to_vec();
                    }
                }
            }
            Some(Task::Whole) => self.whole(setup, sums)?,
            Some(Task::Metrics) => self.sums = Sums::from_slice(sums).unwrap_or_default(),
            _ => {}
        }
        self.finished();
        Ok(())
    }

    /// The step's report, when the weights have been updated.
    pub(super) fn close(
        &mut self,
        setup: &Setup,
        grad_norm: f64,
    ) -> Result<(Option<StepMetrics>, Vec<ExampleRecord>), Error> {
        if !grad_norm.is_finite() {
            let message = format!(
                "step {}: the gradient's norm is {grad_norm}",
                self.plan.number
            );
            return Err(Error::new(Kind::Numeric, message));
        }
        let mut metrics = StepMetrics {
            step: self.plan.number,
            epoch: self.plan.epoch,
            grad_norm,
            learning_rate: self.plan.learning_rate,
            completion_tokens: self.plan.norm.tokens as u64,
            ..self.sums.finish()
        };
        if setup
            .loss
            .reference_point()
            .is_some_and(|estimator| !estimator.per_row())
        {
            let points: Vec<_> = self.batches.iter().map(|batch| batch.z0).collect();
            metrics.shared_points(setup.plan.scope, &points);
        }
        Ok((Some(metrics), std::mem::take(&mut self.examples)))
    }

    /// What the estimator remembers after this step.
    pub(super) fn take_memory(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.memory)
    }

    /// This rank's sums for z₀. All rows in one go: micro-batches must not even change the order of additions.
    fn point_sums(&self, setup: &Setup, batches: Range<usize>) -> Result<Vec<f64>, Error> {
        let Some(estimator) = self.plan.loss.reference_point() else {
            return Ok(Vec::new());
        };
        let mut sums = estimator.sums(self.plan.groups);
        for batch in batches {
            let rows = self.rows(setup, batch);
            estimator.accumulate(&mut sums, &rows, &self.observed(setup, batch)?);
        }
        Ok(sums)
    }

    /// The rows of a micro-batch with what is known of them without a forward pass: what an observation is made for.
    fn rows(&self, setup: &Setup, batch: usize) -> Vec<Row> {
        let plan = &self.plan.batches[batch];
        let row = |(&record, &group): (&usize, &u32)| Row {
            label: setup.data.records[record].label,
            group,
            ..Row::default()
        };
        plan.rows.iter().zip(&plan.groups).map(row).collect()
    }

    /// What the estimator sees of a micro-batch's rows, or of their twins.
    fn observed(&self, setup: &Setup, batch: usize) -> Result<Vec<f64>, Error> {
        let (part, range) = self.batches[batch].point.clone();
        let plan = &self.plan.batches[batch];
        let numbers = Numbers::of(setup, &self.parts[part], range, plan);
        let observed = self.plan.loss.observe(numbers.view());
        observed.map_err(|error| self.numeric(batch, &error))
    }

    /// The numbers of a micro-batch's rows, each with its reference point; and their mean, where rows have points of their own.
    fn numbers(&self, setup: &Setup, batch: usize) -> Result<(Numbers, Option<Point>), Error> {
        let (part, plan) = (self.batches[batch].main, &self.plan.batches[batch]);
        let mut numbers = Numbers::of(setup, &self.parts[part], 0..plan.rows.len(), plan);
        let Some(estimator) = self.plan.loss.reference_point() else {
            return Ok((numbers, None));
        };
        let observed = match estimator.per_row() {
            true => self.observed(setup, batch)?,
            false => Vec::new(),
        };
        let places = &self.batches[batch];
        let mean = estimator.assign(&places.z0, &places.sums, &mut numbers.rows, &observed);
        Ok((numbers, estimator.per_row().then_some(mean)))
    }

    /// The loss of one micro-batch: into the metrics, and back as work; none where this rank's share is empty.
    fn evaluate(&mut self, setup: &Setup, batch: usize) -> Result<Option<Work>, Error> {
        if self.plan.batches[batch].rows.is_empty() {
            return Ok(None);
        }
        let (numbers, mean) = self.numbers(setup, batch)?;
        if let Some(mean) = mean {
            self.sums.add_points(&mean, numbers.rows.len());
        }
        let mut evaluation = match self.batches[batch].evaluation.take() {
            Some(evaluation) => evaluation,
            None => evaluate(&self.plan.loss, numbers.view(), &self.plan.norm)
                .map_err(|error| self.numeric(batch, &error))?,
        };
        limit(&mut evaluation);
        self.sums.add(&numbers.rows, &evaluation);
        let records = self.plan.batches[batch].rows.iter().zip(&numbers.rows);
        let example = |(&record, row): (&usize, &Row)| {
            ExampleRecord::new(
                &self.plan.loss,
                &setup.data.records[record],
                self.plan.number,
                row,
            )
        };
        self.examples.extend(records.map(example));
        let job = self.parts[self.batches[batch].main].job.clone();
        Ok(Some(Work::Backward {
            dlogps: gradient(&job, evaluation, setup.plan.seed_scale()),
            job,
        }))
    }

    fn numeric(&self, batch: usize, error: &halo_loss::Error) -> Error {
        let record = error.row().map(|row| self.plan.batches[batch].rows[row]);
        let message = format!("step {}: {error}", self.plan.number);
        Error::new(Kind::Numeric, message).at(record)
    }
}

/// What the rows' loss says, and zeros for the sequences behind them.
fn gradient(job: &Job, evaluation: Evaluation, scale: f64) -> Gradient {
    let whole = |slopes: Vec<f64>, count: usize| {
        let mut slopes: Vec<f64> = slopes.into_iter().map(|slope| scale * slope).collect();
        slopes.resize(count, 0.0);
        slopes
    };
    match evaluation.token_dlogps.is_empty() {
        true => Gradient::Sequences(whole(evaluation.dlogps, job.sequences.len())),
        false => Gradient::Tokens(whole(evaluation.token_dlogps, job.pack.scores.len())),
    }
}
