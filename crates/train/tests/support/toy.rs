//! A toy policy, and a host that drives machines with it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several test programs, each of which uses its part"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test's helper, outside the test functions that clippy knows"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use halo_loss::{Label, Loss, Params};
use halo_train::{
    Answer, Ask, Dataset, ExampleRecord, Gradient, Job, Machine, Record, Rng, RunPlan, Score,
    StepMetrics, TokenAnswer, Unit, Which, Work,
};

pub const VOCABULARY: usize = 7;

/// A bigram table: p(token | previous token) is the softmax of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Bigram {
    pub table: Vec<f64>, // (V, V)
}

impl Bigram {
    pub fn random(seed: u64) -> Bigram {
        let mut rng = Rng::new(seed);
        Bigram {
            table: (0..VOCABULARY * VOCABULARY).map(|_| rng.normal()).collect(),
        }
    }

    fn probabilities(&self, previous: u32) -> Vec<f64> {
        let row = &self.table[previous as usize * VOCABULARY..][..VOCABULARY];
        let total: f64 = row.iter().map(|logit| logit.exp()).sum();
        row.iter().map(|logit| logit.exp() / total).collect()
    }

    /// One number a sequence of the job.
    pub fn logps(&self, job: &Job) -> Vec<f64> {
        job.pack.sum_logps(&self.scores(job))
    }

    /// One a scored token, or one a sequence, as asked.
    pub fn answer(&self, job: &Job, ask: Ask) -> Answer {
        let log_collision = |score: &Score| {
            let p = self.probabilities(job.pack.tokens[score.row as usize]);
            p.iter().map(|p| p * p).sum::<f64>().ln() as f32
        };
        match ask {
            Ask::Sums | Ask::Scores => Answer::Logps(self.logps(job)),
            Ask::Tokens { collisions } => Answer::Tokens(TokenAnswer {
                logps: job.pack.by_sequence(&self.scores(job)),
                log_collisions: match collisions {
                    true => job.pack.by_sequence(
                        &job.pack
                            .scores
                            .iter()
                            .map(log_collision)
                            .collect::<Vec<_>>(),
                    ),
                    false => Vec::new(),
                },
            }),
        }
    }

    fn scores(&self, job: &Job) -> Vec<f32> {
        let of = |row: u32, target: u32| {
            self.probabilities(job.pack.tokens[row as usize])[target as usize].ln() as f32
        };
        let scores = job.pack.scores.iter();
        scores.map(|score| of(score.row, score.target)).collect()
    }

    pub fn backward(&self, job: &Job, dlogps: &Gradient, gradient: &mut [f64]) {
        for (score, dlogp) in job.pack.scores.iter().zip(job.pack.spread(dlogps)) {
            let previous = job.pack.tokens[score.row as usize];
            for (token, p) in self.probabilities(previous).into_iter().enumerate() {
                let indicator = f64::from(u8::from(token == score.target as usize));
                gradient[previous as usize * VOCABULARY + token] +=
                    f64::from(dlogp) * (indicator - p);
            }
        }
    }
}

/// What a run left behind, all ranks together.
#[derive(Debug, Default)]
pub struct Log {
    pub metrics: Vec<StepMetrics>,
    pub examples: Vec<ExampleRecord>,
    /// Per step (from 1) and record: dL/dlogp.
    pub dlogps: BTreeMap<(u64, usize), f64>,
    /// Per step (from 1) and rank, in order: x and y′ of every pair on which the policy ran.
    pub mismatches: BTreeMap<(u64, usize), Vec<(usize, usize)>>,
    /// Every work of every rank, printed.
    pub works: Vec<String>,
    pub checkpoints: Vec<u64>,
    /// Steps completed when the reference moved, and how far.
    pub syncs: Vec<(u64, f64)>,
}

/// Plays the host for the ranks of one run, until done.
pub fn drive(machines: &mut [Machine], policy: &mut Bigram, reference: &Bigram) -> Log {
    drive_until(machines, policy, reference, u64::MAX)
}

/// The same, but it stops when `stop` steps are completed and saved works are answered.
pub fn drive_until(
    machines: &mut [Machine],
    policy: &mut Bigram,
    reference: &Bigram,
    stop: u64,
) -> Log {
    let (mut log, mut reference) = (Log::default(), reference.clone());
    let mut gradients = vec![vec![0.0; policy.table.len()]; machines.len()];
    while machines[0].completed_steps() < stop {
        // Each rank runs alone up to the next thing that all do together.
        let works: Vec<Work> = machines
            .iter_mut()
            .enumerate()
            .map(|(rank, machine)| {
                alone(
                    machine,
                    rank,
                    policy,
                    &reference,
                    &mut gradients[rank],
                    &mut log,
                )
            })
            .collect();
        let answer = match &works[0] {
            Work::Reduce { .. } => {
                let parts = works.iter().map(|work| match work {
                    Work::Reduce { sums } => sums.clone(),
                    other => panic!("rank 0 reduces, another does {other:?}"),
                });
                Answer::Reduced(
                    parts
                        .reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect())
                        .unwrap(),
                )
            }
            Work::ReduceGradients => {
                let sum: Vec<f64> = (0..gradients[0].len())
                    .map(|i| gradients.iter().map(|g| g[i]).sum())
                    .collect();
                gradients
                    .iter_mut()
                    .for_each(|gradient| gradient.clone_from(&sum));
                Answer::Finished
            }
            Work::OptimizerStep { learning_rate, .. } => {
                let gradient = &gradients[0];
                policy
                    .table
                    .iter_mut()
                    .zip(gradient)
                    .for_each(|(weight, g)| *weight -= learning_rate * g);
                let grad_norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
                gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
                Answer::Stepped { grad_norm }
            }
            Work::SyncReference { mix } => {
                for (theirs, ours) in reference.table.iter_mut().zip(&policy.table) {
                    *theirs = mix * ours + (1.0 - mix) * *theirs;
                }
                log.syncs.push((machines[0].completed_steps(), *mix));
                Answer::Finished
            }
            Work::Checkpoint { step } => {
                log.checkpoints.push(*step);
                Answer::Finished
            }
            Work::Done => return log,
            Work::Forward { .. } | Work::Backward { .. } => unreachable!("done alone"),
        };
        for machine in machines.iter_mut() {
            machine.submit(answer.clone()).unwrap();
            log.examples.extend(machine.take_examples());
        }
        let reports: Vec<StepMetrics> = machines
            .iter_mut()
            .filter_map(Machine::take_metrics)
            .collect();
        assert!(
            reports.windows(2).all(|pair| pair[0] == pair[1]),
            "every rank reports the same"
        );
        log.metrics.extend(reports.into_iter().next());
    }
    log
}

fn alone(
    machine: &mut Machine,
    rank: usize,
    policy: &Bigram,
    reference: &Bigram,
    gradient: &mut [f64],
    log: &mut Log,
) -> Work {
    loop {
        let step = machine.completed_steps() + 1;
        let work = machine.next().unwrap();
        log.works.push(format!("{work:?}"));
        let answer = match &work {
            Work::Forward {
                job,
                model: Which::Reference,
                ask,
                ..
            } => reference.answer(job, *ask),
            Work::Forward {
                job,
                model: Which::Policy,
                ask,
                ..
            } => {
                let apart = job
                    .sequences
                    .iter()
                    .filter(|s| !s.grad)
                    .map(|s| (s.prompt, s.completion));
                log.mismatches
                    .entry((step, rank))
                    .or_default()
                    .extend(apart);
                policy.answer(job, *ask)
            }
            Work::Backward { job, dlogps } => {
                // Of a loss over tokens the sum of a sequence's.
                let counts = job.pack.scored_tokens();
                let mut rest = match dlogps {
                    Gradient::Tokens(slopes) => slopes.as_slice(),
                    Gradient::Sequences(_) => &[],
                };
                for (index, sequence) in job.sequences.iter().enumerate() {
                    let dlogp = match dlogps {
                        Gradient::Sequences(slopes) => slopes[index],
                        Gradient::Tokens(_) => {
                            let (mine, others) = rest.split_at(counts[index] as usize);
                            rest = others;
                            mine.iter().sum()
                        }
                    };
                    assert!(sequence.grad || dlogp == 0.0);
                    if sequence.grad {
                        assert_eq!(log.dlogps.insert((step, sequence.prompt), dlogp), None);
                    }
                }
                policy.backward(job, dlogps, gradient);
                Answer::Finished
            }
            _ => return work,
        };
        machine.submit(answer).unwrap();
    }
}

pub fn loss(name: &str, params: &[(&str, &str)]) -> Loss {
    let mut set = Params::new();
    for (key, value) in params {
        set.set(key, *value);
    }
    Loss::new(name, &set).unwrap()
}

/// `count` labelled records, every third a sibling of the one before.
pub fn singles(count: usize) -> Arc<Dataset> {
    let mut rng = Rng::new(11);
    let mut tokens = |n: u64| -> Vec<u32> {
        (0..=rng.below(n))
            .map(|_| rng.below(VOCABULARY as u64) as u32)
            .collect()
    };
    let mut records: Vec<Record> = Vec::new();
    for index in 0..count {
        let prompt = if index % 3 == 2 {
            records[index - 1].prompt.clone()
        } else {
            [tokens(4), tokens(9)].concat()
        };
        let label = if index % 5 == 0 {
            Label::Desirable
        } else {
            Label::Undesirable
        };
        let completion = [
            tokens(5),
            vec![index as u32 % VOCABULARY as u32; 1 + index / VOCABULARY],
        ]
        .concat();
        records.push(Record {
            id: format!("r{index}"),
            prompt,
            completion,
            label,
            score: Some(f64::from(index as u32 % 4) / 2.0),
            ..Record::default()
        });
    }
    Arc::new(Dataset::new(records, (0..count).map(Unit::Single).collect()).unwrap())
}

pub fn pairs(count: usize) -> Arc<Dataset> {
    let data = singles(2 * count);
    let mut records = data.records.clone();
    for pair in records.chunks_mut(2) {
        pair[1].prompt = pair[0].prompt.clone();
        (pair[0].label, pair[1].label) = (Label::Desirable, Label::Undesirable);
    }
    let units = (0..count)
        .map(|pair| Unit::Pair {
            chosen: 2 * pair,
            rejected: 2 * pair + 1,
        })
        .collect();
    Arc::new(Dataset::new(records, units).unwrap())
}

/// A run of all ranks from the start: `batch_size` is each rank's.
pub fn run(plan: &RunPlan, data: &Arc<Dataset>, loss: &Loss) -> (Log, Bigram) {
    let mut machines: Vec<Machine> = (0..plan.ranks)
        .map(|rank| {
            Machine::new(
                RunPlan {
                    rank,
                    ..plan.clone()
                },
                data.clone(),
                loss.clone(),
            )
            .unwrap()
        })
        .collect();
    let (mut policy, reference) = (Bigram::random(1), Bigram::random(2));
    let log = drive(&mut machines, &mut policy, &reference);
    (log, policy)
}
