//! A host that fails: every rank learns of it, nothing is stepped, and the run ends as if nothing had happened.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use halo_loss::{Loss, Scope};
use halo_train::{
    Answer, Dataset, Error, GradientReduce, Machine, RunPlan, StepMetrics, Which, Work,
};
use toy::{Bigram, loss, pairs, singles};

#[path = "support/toy.rs"]
mod toy;

/// One rank: its machine, its gradient, and where it fails.
struct Rank {
    machine: Machine,
    gradient: Vec<f64>,
    /// Local works that it was asked for so far.
    asked: usize,
    fails_at: Option<usize>,
}

/// What a run left behind.
#[derive(Debug, PartialEq)]
struct End {
    weights: Vec<u64>,
    metrics: Vec<StepMetrics>,
}

/// What happened on the way.
#[derive(Default)]
struct Way {
    errors: Vec<Vec<Error>>,
    /// Local works, by their kind.
    kinds: BTreeSet<&'static str>,
    works: usize,
}

const CODE: i32 = 7;

impl Rank {
    /// Up to the next thing that all ranks do together.
    fn alone(&mut self, policy: &Bigram, way: &mut Way) -> Result<Work, Error> {
        loop {
            let work = self.machine.next()?;
            let kind = match &work {
                Work::Forward {
                    model: Which::Reference,
                    ..
                } => "reference",
                Work::Forward { tape: false, .. } => "policy",
                Work::Forward { .. } => "policy, taped",
                Work::Backward { .. } => "backward",
                _ => return Ok(work),
            };
            way.kinds.insert(kind);
            way.works += 1;
            self.asked += 1;
            if self.fails_at.take_if(|at| *at == self.asked - 1).is_some() {
                self.machine.submit(Answer::Failed { code: CODE })?;
                continue;
            }
            let answer = match &work {
                Work::Forward {
                    job, model, ask, ..
                } => match model {
                    Which::Policy => policy.answer(job, *ask),
                    Which::Reference => Bigram::random(2).answer(job, *ask),
                },
                Work::Backward { job, dlogps } => {
                    policy.backward(job, dlogps, &mut self.gradient);
                    Answer::Finished
                }
                _ => unreachable!("returned above"),
            };
            self.machine.submit(answer)?;
        }
    }
}

/// Drives all ranks; `fails[r]` is the local work at which rank r fails once.
fn drive(plan: &RunPlan, data: &Arc<Dataset>, loss: &Loss, fails: &[Option<usize>]) -> (End, Way) {
    let mut policy = Bigram::random(1);
    let new = |(rank, &fails_at): (usize, &Option<usize>)| {
        let plan = RunPlan {
            rank,
            ranks: fails.len(),
            ..plan.clone()
        };
        Rank {
            machine: Machine::new(plan, data.clone(), loss.clone()).unwrap(),
            gradient: vec![0.0; policy.table.len()],
            asked: 0,
            fails_at,
        }
    };
    let mut ranks: Vec<Rank> = fails.iter().enumerate().map(new).collect();
    let (mut metrics, mut way) = (Vec::new(), Way::default());
    loop {
        let works: Vec<_> = ranks
            .iter_mut()
            .map(|rank| rank.alone(&policy, &mut way))
            .collect();
        let mut errors = Vec::new();
        if works.iter().any(Result::is_err) {
            errors.extend(works.into_iter().map(Result::unwrap_err));
        } else {
            let works: Vec<Work> = works.into_iter().map(Result::unwrap).collect();
            let answer = match &works[0] {
                Work::Reduce { sums } => {
                    let mut all = vec![0.0; sums.len()];
                    for work in &works {
                        let Work::Reduce { sums } = work else {
                            panic!("rank 0 adds up, another does {work:?}")
                        };
                        assert_eq!(sums.len(), all.len());
                        all.iter_mut().zip(sums).for_each(|(all, one)| *all += one);
                    }
                    Answer::Reduced(all)
                }
                Work::ReduceGradients => {
                    let share = match plan.gradient_reduce {
                        GradientReduce::Sum => 1.0,
                        GradientReduce::Mean => 1.0 / ranks.len() as f64,
                    };
                    let sum: Vec<f64> = (0..policy.table.len())
                        .map(|i| share * ranks.iter().map(|rank| rank.gradient[i]).sum::<f64>())
                        .collect();
                    ranks
                        .iter_mut()
                        .for_each(|rank| rank.gradient.clone_from(&sum));
                    Answer::Finished
                }
                Work::OptimizerStep { learning_rate, .. } => {
                    let gradient = &ranks[0].gradient;
                    let both = policy.table.iter_mut().zip(gradient);
                    both.for_each(|(weight, slope)| *weight -= learning_rate * slope);
                    ranks.iter_mut().for_each(|rank| rank.gradient.fill(0.0));
                    Answer::Stepped { grad_norm: 1.0 }
                }
                Work::Done => {
                    let weights = policy.table.iter().map(|weight| weight.to_bits()).collect();
                    return (End { weights, metrics }, way);
                }
                _ => Answer::Finished,
            };
            for rank in &mut ranks {
                errors.extend(rank.machine.submit(answer.clone()).err());
            }
        }
        if errors.is_empty() {
            metrics.extend(ranks[0].machine.take_metrics());
            continue;
        }
        assert_eq!(
            errors.len(),
            ranks.len(),
            "every rank learns of it: {errors:?}"
        );
        ranks.iter_mut().for_each(|rank| rank.gradient.fill(0.0));
        way.errors.push(errors);
    }
}

fn plan(batch_size: usize, gradient_accumulation_steps: usize) -> RunPlan {
    RunPlan {
        batch_size,
        gradient_accumulation_steps,
        steps: Some(3),
        learning_rate: 0.5,
        ..RunPlan::default()
    }
}

/// Every order of works: one z₀ before, one in between, a loss over the whole step, an estimator that remembers, tokens.
fn cases() -> Vec<(RunPlan, Arc<Dataset>, Loss)> {
    let apart = RunPlan {
        scope: Scope::Microbatch,
        ..plan(2, 2)
    };
    vec![
        (plan(2, 2), singles(13), loss("kto", &[])),
        (plan(4, 1), singles(13), loss("kto", &[])),
        (apart, singles(13), loss("kto", &[])),
        (plan(2, 2), singles(13), loss("bco", &[])),
        (plan(2, 2), pairs(9), loss("dpo", &[])),
        (plan(2, 2), pairs(9), loss("aot", &[])),
        (plan(2, 2), singles(13), loss("grpo", &[])),
    ]
}

#[test]
fn whoever_fails_wherever_the_run_ends_the_same_to_the_bit() {
    let mut kinds = BTreeSet::new();
    for (plan, data, loss) in cases() {
        let (undisturbed, way) = drive(&plan, &data, &loss, &[None, None]);
        assert!(way.errors.is_empty() && undisturbed.metrics.len() == 3);
        kinds.extend(way.kinds);
        for failing in [0, 1] {
            for at in 0..way.works / 3 {
                let mut fails = [None, None];
                fails[failing] = Some(at);
                let (disturbed, way) = drive(&plan, &data, &loss, &fails);
                let what = format!("{}: rank {failing} at {at}", loss.name());
                assert_eq!(disturbed, undisturbed, "{what}");
                let [errors] = &way.errors[..] else {
                    panic!("{what}: {:?}", way.errors)
                };
                for (rank, error) in errors.iter().enumerate() {
                    assert!(error.is_peer() && error.rank() == Some(failing), "{error}");
                    let code = if rank == failing { CODE } else { 0 };
                    assert_eq!(error.host_code(), code);
                }
            }
        }
    }
    let all = ["reference", "policy", "policy, taped", "backward"];
    assert_eq!(kinds, BTreeSet::from(all));
}

#[test]
fn two_ranks_that_fail_together_are_counted() {
    let (data, loss) = (singles(13), loss("kto", &[]));
    let (undisturbed, _) = drive(&plan(2, 2), &data, &loss, &[None, None, None]);
    let (disturbed, way) = drive(&plan(2, 2), &data, &loss, &[Some(0), None, Some(1)]);
    assert_eq!(disturbed, undisturbed);
    let [errors] = &way.errors[..] else {
        panic!("{:?}", way.errors)
    };
    assert!(errors.iter().all(|error| error.is_peer()));
    assert_eq!(
        errors[1].to_string(),
        "2 ranks failed; nothing was stepped, and the step is offered again"
    );
    assert!(
        errors[2]
            .to_string()
            .contains("rank 2 (this one) failed, and 1 others")
    );
}

#[test]
fn a_rank_alone_is_answered_at_once() {
    let (data, loss) = (singles(13), loss("kto", &[]));
    let (undisturbed, way) = drive(&plan(2, 2), &data, &loss, &[None]);
    for at in 0..way.works {
        let (disturbed, way) = drive(&plan(2, 2), &data, &loss, &[Some(at)]);
        assert_eq!(disturbed, undisturbed, "at {at}");
        assert_eq!(way.errors.len(), 1);
        let error = &way.errors[0][0];
        let said = format!("failed with the host's code {CODE}");
        assert!(
            error.is_peer() && error.to_string().contains(&said),
            "{error}"
        );
    }
}

#[test]
fn numbers_of_one_rank_that_are_no_use_fail_all_of_them() {
    // Log-probabilities that are finite, and whose difference is not.
    let (data, loss) = (pairs(9), loss("dpo", &[]));
    let mut machines: Vec<Machine> = (0..2)
        .map(|rank| {
            let plan = RunPlan {
                rank,
                ranks: 2,
                ..plan(2, 1)
            };
            Machine::new(plan, data.clone(), loss.clone()).unwrap()
        })
        .collect();
    let mut sums = Vec::new();
    for (rank, machine) in machines.iter_mut().enumerate() {
        sums.push(loop {
            let answer = match machine.next().unwrap() {
                Work::Forward { job, model, .. } => {
                    let huge = match (rank, model) {
                        (1, Which::Policy) => f64::MAX,
                        (1, Which::Reference) => f64::MIN,
                        _ => -1.0,
                    };
                    Answer::Logps(vec![huge; job.sequences.len()])
                }
                Work::Reduce { sums } => break sums,
                _ => Answer::Finished,
            };
            machine.submit(answer).unwrap();
        });
    }
    let all: Vec<f64> = sums[0].iter().zip(&sums[1]).map(|(a, b)| a + b).collect();
    for machine in &mut machines {
        let error = machine.submit(Answer::Reduced(all.clone())).unwrap_err();
        assert!(error.is_peer() && error.rank() == Some(1), "{error}");
        assert_eq!(error.host_code(), 0);
    }
}

#[test]
fn a_sum_that_fails_ends_the_run_and_a_checkpoint_that_fails_is_offered_again() {
    let two = RunPlan {
        ranks: 2,
        ..plan(2, 1)
    };
    let mut machine = Machine::new(two, singles(9), loss("kto", &[])).unwrap();
    while let Work::Forward { job, .. } = machine.next().unwrap() {
        let logps = vec![-1.0; job.sequences.len()];
        machine.submit(Answer::Logps(logps)).unwrap();
    }
    let over = machine.submit(Answer::Failed { code: 3 }).unwrap_err();
    assert!(over.is_host() && over.host_code() == 3, "{over}");
    let still = machine.next().unwrap_err();
    assert!(still.is_host() && still.to_string().contains("the run is over"));
    assert!(machine.submit(Answer::Finished).unwrap_err().is_host());

    let one = RunPlan {
        steps: Some(1),
        ..plan(2, 1)
    };
    let mut machine = Machine::new(one, singles(9), loss("sft", &[])).unwrap();
    loop {
        let answer = match machine.next().unwrap() {
            Work::Forward { job, .. } => Answer::Logps(vec![-1.0; job.sequences.len()]),
            Work::OptimizerStep { .. } => Answer::Stepped { grad_norm: 1.0 },
            Work::Checkpoint { .. } => break,
            _ => Answer::Finished,
        };
        machine.submit(answer).unwrap();
    }
    let again = machine.submit(Answer::Failed { code: 5 }).unwrap_err();
    assert!(again.is_host() && again.to_string().ends_with("it is offered again"));
    assert!(matches!(
        machine.next().unwrap(),
        Work::Checkpoint { step: 1 }
    ));
    machine.submit(Answer::Finished).unwrap();
    assert!(matches!(machine.next().unwrap(), Work::Done));
}

#[test]
fn gradients_that_are_averaged_are_those_that_are_added_up() {
    let (data, loss) = (singles(13), loss("kto", &[]));
    let mean = RunPlan {
        gradient_reduce: GradientReduce::Mean,
        ..plan(2, 2)
    };
    // By two ranks, so scaled by a power of two: no bit is lost.
    let (sum, _) = drive(&plan(2, 2), &data, &loss, &[None, None]);
    assert_eq!(drive(&mean, &data, &loss, &[None, None]).0, sum);
}

#[test]
fn a_learning_rate_that_was_set_holds_from_the_next_step_on_and_is_saved() {
    let new = || Machine::new(plan(4, 1), singles(13), loss("sft", &[])).unwrap();
    let mut machine = new();
    let step = |machine: &mut Machine| loop {
        let answer = match machine.next().unwrap() {
            Work::Forward { job, .. } => Answer::Logps(vec![-1.0; job.sequences.len()]),
            Work::OptimizerStep { .. } => Answer::Stepped { grad_norm: 1.0 },
            _ => Answer::Finished,
        };
        machine.submit(answer).unwrap();
        if let Some(metrics) = machine.take_metrics() {
            return metrics.learning_rate;
        }
    };
    assert_eq!(step(&mut machine), 0.5);
    assert!(
        machine
            .set_learning_rate(f64::NAN)
            .unwrap_err()
            .is_parameter()
    );
    machine.set_learning_rate(0.125).unwrap();
    let state = machine.state();
    assert_eq!(step(&mut machine), 0.125);
    let before = new();
    let (data, loss) = (before.data().clone(), before.loss().clone());
    let mut restored = Machine::restore(plan(4, 1), data, loss, &state).unwrap();
    assert_eq!(step(&mut restored), 0.125);
}
