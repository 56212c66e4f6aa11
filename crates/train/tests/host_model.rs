//! The run of `bindings/c/host_model.c`, done here without the C interface: both end at the weights of `host_model.weights` beside it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use halo_loss::{Label, Loss, Params};
use halo_train::{
    Answer, Dataset, Gradient, Machine, Record, RunPlan, Schedule, SequenceRef, Unit, Which, Work,
};

const VOCABULARY: usize = 8;

/// p(token | token before) is the softmax of a row.
#[derive(Clone)]
struct Bigrams(Vec<f64>);

impl Bigrams {
    fn new(weight: impl Fn(usize) -> f64) -> Bigrams {
        Bigrams((0..VOCABULARY * VOCABULARY).map(weight).collect())
    }

    /// The log-probability of a sequence, in double precision throughout; its slopes times `seed` go into `gradient`.
    fn logp(&self, tokens: &[u32], first: usize, seed: f64, gradient: &mut [f64]) -> f64 {
        let mut sum = 0.0;
        for at in first..tokens.len() {
            let (before, token) = (tokens[at - 1] as usize, tokens[at] as usize);
            let row = &self.0[before * VOCABULARY..][..VOCABULARY];
            let total: f64 = row.iter().map(|weight| weight.exp()).sum();
            for (k, weight) in row.iter().enumerate() {
                let here = f64::from(u8::from(k == token));
                gradient[before * VOCABULARY + k] += seed * (here - weight.exp() / total);
            }
            sum += row[token] - total.ln();
        }
        sum
    }
}

/// Two answers a prompt; the seventh record has no prompt.
fn data() -> Arc<Dataset> {
    let token = |number: usize| (number % VOCABULARY) as u32;
    let record = |i: usize| Record {
        id: i.to_string(),
        prompt: match i {
            7 => Vec::new(),
            _ => vec![token(i / 2 * 3 + 1), token(i / 2 * 5 + 2)],
        },
        completion: (0..2 + i % 3).map(|j| token(i * 3 + j * 5 + 1)).collect(),
        label: match i % 3 {
            0 => Label::Desirable,
            _ => Label::Undesirable,
        },
        ..Record::default()
    };
    let units = (0..20).map(Unit::Single).collect();
    Arc::new(Dataset::new((0..20).map(record).collect(), units).unwrap())
}

fn trained(batch_size: usize, gradient_accumulation_steps: usize) -> Vec<f64> {
    let plan = RunPlan {
        batch_size,
        gradient_accumulation_steps,
        steps: Some(7),
        learning_rate: 40.0,
        schedule: Schedule::Linear,
        warmup_steps: 1,
        seed: 7,
        ..RunPlan::default()
    };
    let mut params = Params::new();
    params.set("beta", 0.2);
    let (data, loss) = (data(), Loss::new("kto", &params).unwrap());
    let mut machine = Machine::new(plan, data.clone(), loss).unwrap();
    let mut policy = Bigrams::new(|k| ((k * 7 % 13) as f64 - 6.0) / 10.0);
    let reference = Bigrams::new(|k| ((k * 7 % 13) as f64 - 6.0) / 10.0 * 2.0);
    let mut gradient = vec![0.0; policy.0.len()];
    let sequence = |sequence: &SequenceRef| {
        let prompt = &data.records[sequence.prompt].prompt;
        let completion = &data.records[sequence.completion].completion;
        (
            [prompt.as_slice(), completion.as_slice()].concat(),
            prompt.len().max(1),
        )
    };
    loop {
        let answer = match machine.next().unwrap() {
            Work::Forward { job, model, .. } => {
                let table = match model {
                    Which::Policy => &policy,
                    Which::Reference => &reference,
                };
                let mut unused = gradient.clone();
                let logp = |one: &SequenceRef| {
                    let (tokens, first) = sequence(one);
                    table.logp(&tokens, first, 0.0, &mut unused)
                };
                Answer::Logps(job.sequences.iter().map(logp).collect())
            }
            Work::Backward {
                job,
                dlogps: Gradient::Sequences(dlogps),
            } => {
                for (one, seed) in job.sequences.iter().zip(dlogps) {
                    let (tokens, first) = sequence(one);
                    policy.logp(&tokens, first, seed, &mut gradient);
                }
                Answer::Finished
            }
            Work::OptimizerStep { learning_rate, .. } => {
                let both = policy.0.iter_mut().zip(&mut gradient);
                both.for_each(|(weight, slope)| *weight -= learning_rate * std::mem::take(slope));
                Answer::Stepped { grad_norm: 0.0 }
            }
            Work::Done => return policy.0,
            _ => Answer::Finished,
        };
        machine.submit(answer).unwrap();
    }
}

#[test]
fn the_weights_of_the_c_program_are_those_of_the_machine() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../bindings/c/host_model.weights"
    );
    let expected: Vec<f64> = std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    let untrained = Bigrams::new(|k| ((k * 7 % 13) as f64 - 6.0) / 10.0).0;
    let moved = |(a, b): (&f64, &f64)| (a - b).abs();
    let largest = expected
        .iter()
        .zip(&untrained)
        .map(moved)
        .fold(0.0, f64::max);
    assert!(largest > 0.5, "the run trains: {largest}");
    for (batch_size, micro_batches) in [(12, 1), (6, 2), (4, 3)] {
        let weights = trained(batch_size, micro_batches);
        assert_eq!(weights.len(), expected.len());
        let far = weights.iter().zip(&expected).map(moved).fold(0.0, f64::max);
        // the exponentials of two platforms may differ in their last bit
        assert!(far < 1e-12, "{batch_size} x {micro_batches}: {far}");
    }
}
