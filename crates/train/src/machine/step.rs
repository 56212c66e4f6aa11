//! One optimiser step under way: its tasks in order, and what has been answered so far.

use std::collections::VecDeque;
use std::ops::Range;

use halo_loss::{Label, Need, Point, Row, Scope, evaluate};

use super::layout::{Layout, Part, Places, Task};
use super::plan::StepPlan;
use super::setup::Setup;
use super::work::{Job, SequenceRef, Which, Work};
use crate::error::{Error, Kind};
use crate::examples::{self, ExampleRecord};
use crate::metrics::{Clamped, StepMetrics, Sums};

#[derive(Debug)]
pub(super) struct Step {
    plan: StepPlan,
    parts: Vec<Part>,
    batches: Vec<Places>,
    tasks: VecDeque<Task>,
    sums: Sums,
    examples: Vec<ExampleRecord>,
}

impl Step {
    pub(super) fn new(setup: &Setup, plan: StepPlan) -> Step {
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
        }
    }

    /// The next question; what needs nobody else is done on the way.
    pub(super) fn ask(&mut self, setup: &Setup) -> Result<Option<Work>, Error> {
        let alone = setup.plan.ranks == 1;
        while let Some(task) = self.tasks.front().cloned() {
            match task {
                Task::Forward { part, model, tape } => {
                    let job = self.parts[part].job.clone();
                    return Ok(Some(Work::Forward { job, model, tape }));
                }
                Task::Point(batches) => {
                    let sums = self.point_sums(setup, batches);
                    if !alone {
                        return Ok(Some(Work::Reduce {
                            sums: sums.to_vec(),
                        }));
                    }
                    self.reduced(setup, sums.len(), &sums)?;
                }
                Task::Backward { batch } => match self.evaluate(setup, batch)? {
                    Some(work) => return Ok(Some(work)),
                    None => self.finished(),
                },
                Task::Metrics if alone => self.finished(),
                Task::Metrics => {
                    return Ok(Some(Work::Reduce {
                        sums: self.sums.to_vec(),
                    }));
                }
                Task::Gradients if alone => self.finished(),
                Task::Gradients => return Ok(Some(Work::ReduceGradients)),
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
        logps: Vec<f64>,
    ) -> Result<(), Error> {
        if logps.len() != job.sequences.len() {
            let (got, wanted) = (logps.len(), job.sequences.len());
            let message =
                format!("Forward expects {wanted} log-probabilities, one a sequence, not {got}");
            return Err(Error::new(Kind::Protocol, message));
        }
        if let Some((sequence, logp)) = job
            .sequences
            .iter()
            .zip(&logps)
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
                Which::Reference => self.parts[part].reference = logps,
                Which::Policy => {
                    self.parts[part].policy = logps;
                    self.sums.add_tokens(job.pack.rows());
                }
            }
        }
        self.finished();
        Ok(())
    }

    /// The sums over all ranks came.
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
        if let Some(sum) = sums.iter().find(|sum| !sum.is_finite()) {
            let message = format!("step {}: a sum over the ranks is {sum}", self.plan.number);
            return Err(Error::new(Kind::Numeric, message));
        }
        match self.tasks.front().cloned() {
            Some(Task::Point(batches)) => {
                if let (Some(estimator), Ok(sums)) = (setup.loss.reference_point(), sums.try_into())
                {
                    let z0 = estimator.finish(sums);
                    self.batches[batches]
                        .iter_mut()
                        .for_each(|batch| batch.z0 = z0);
                }
            }
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
        if setup.loss.reference_point().is_some() {
            // One z₀ of the whole step stands in every micro-batch; a mean of equals could still round.
            let points = match setup.plan.scope {
                Scope::Step => &self.batches[..1],
                Scope::Microbatch => &self.batches[..],
            };
            let mean = |of: fn(&Point) -> f64| {
                points.iter().map(|batch| of(&batch.z0)).sum::<f64>() / points.len() as f64
            };
            metrics.kl = Some(mean(|z0| z0.value));
            metrics.kl_raw = Some(mean(|z0| z0.raw));
            metrics.kl_clamped = Some(match setup.plan.scope {
                Scope::Step => Clamped::Flag(points.iter().any(|batch| batch.z0.clamped)),
                Scope::Microbatch => Clamped::Share(mean(|z0| f64::from(z0.clamped))),
            });
        }
        Ok((Some(metrics), std::mem::take(&mut self.examples)))
    }

    /// This rank's sums for z₀. All rows in one go: micro-batches must not even change the order of additions.
    fn point_sums(&self, setup: &Setup, batches: Range<usize>) -> [f64; 4] {
        let mut sums = [0.0; 4];
        if let Some(estimator) = setup.loss.reference_point() {
            let places = self.batches[batches].iter().map(|batch| &batch.point);
            let rows: Vec<Row> = places
                .flat_map(|(part, range)| self.rows(setup, *part, range.clone()))
                .collect();
            estimator.accumulate(&mut sums, &rows);
        }
        sums
    }

    /// The loss of one micro-batch: into the metrics, and back as work; none where this rank's share is empty.
    fn evaluate(&mut self, setup: &Setup, batch: usize) -> Result<Option<Work>, Error> {
        let Places { main, z0, .. } = self.batches[batch];
        let count = self.plan.batches[batch].rows.len();
        if count == 0 {
            return Ok(None);
        }
        let rows: Vec<Row> = self.rows(setup, main, 0..count).collect();
        let evaluation = evaluate(&setup.loss, &rows, &z0, &self.plan.norm).map_err(|error| {
            let message = format!("step {}: {error}", self.plan.number);
            let record = error.row().map(|row| self.plan.batches[batch].rows[row]);
            Error::new(Kind::Numeric, message).at(record)
        })?;
        self.sums.add(&rows, &evaluation);
        let example = |(&record, row): (&usize, &Row)| ExampleRecord {
            id: setup.data.records[record].id.clone(),
            step: self.plan.number,
            label: row.label == Label::Desirable,
            logp: row.logp,
            ref_logp: setup.loss.needs(Need::Reference).then_some(row.ref_logp),
            tokens: row.tokens,
            z0: setup.loss.reference_point().map(|_| z0.value),
            weight: examples::weight(setup.loss.params(), row.label),
            group: setup.data.records[record].group,
        };
        self.examples
            .extend(self.plan.batches[batch].rows.iter().zip(&rows).map(example));

        let job = self.parts[main].job.clone();
        let mut dlogps = evaluation.dlogps;
        dlogps.resize(job.sequences.len(), 0.0);
        Ok(Some(Work::Backward { job, dlogps }))
    }

    /// Sequences of a part as a loss sees them.
    fn rows<'a>(
        &'a self,
        setup: &'a Setup,
        part: usize,
        range: Range<usize>,
    ) -> impl Iterator<Item = Row> + 'a {
        let part = &self.parts[part];
        range.map(move |i| {
            let SequenceRef {
                prompt, completion, ..
            } = part.job.sequences[i];
            // Of a mismatched sequence the prompt's record says the class: it stands for the example x belongs to.
            let (prompt, completion) =
                (&setup.data.records[prompt], &setup.data.records[completion]);
            let tokens = prompt.scored_tokens_of(completion);
            Row {
                logp: part.policy[i],
                ref_logp: part.reference[i],
                tokens,
                label: prompt.label,
            }
        })
    }
}
