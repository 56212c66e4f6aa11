//! Micro-batches and ranks are ways to compute a step, not settings of it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use halo_loss::{Label, Normalizer, Row, Scope, evaluate};
use halo_train::{Mismatch, Order, RunPlan, Schedule, StepMetrics};
use toy::{Log, loss, pairs, run, singles};

#[path = "support/toy.rs"]
mod toy;

fn plan(batch_size: usize, gradient_accumulation_steps: usize, ranks: usize) -> RunPlan {
    RunPlan {
        batch_size,
        gradient_accumulation_steps,
        ranks,
        epochs: 2.0,
        learning_rate: 0.3,
        ..RunPlan::default()
    }
}

/// Numbers that went through sums over ranks differ in the order of additions only.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * (1.0 + a.abs())
}

fn assert_close(a: &Log, b: &Log) {
    assert_eq!(
        a.dlogps.keys().collect::<Vec<_>>(),
        b.dlogps.keys().collect::<Vec<_>>()
    );
    for ((key, a), b) in a.dlogps.iter().zip(b.dlogps.values()) {
        assert!(close(*a, *b), "{key:?}: {a} {b}");
    }
    for (a, b) in a.metrics.iter().zip(&b.metrics) {
        let json = |m: &StepMetrics| {
            serde_json::to_value(StepMetrics {
                tokens: 0,
                ..m.clone()
            })
            .unwrap()
        };
        for (key, value) in json(a).as_object().unwrap() {
            match (value.as_f64(), json(b)[key].as_f64()) {
                (Some(a), Some(b)) => assert!(close(a, b), "{key}: {a} {b}"),
                _ => assert_eq!(*value, json(b)[key], "{key}"),
            }
        }
    }
}

#[test]
fn k_micro_batches_are_exactly_one_batch_of_k_fold_size() {
    for (name, params) in [
        ("kto", vec![]),
        ("kto", vec![("reference_point", "zero")]),
        ("kto", vec![("reference_point", "batch_mean")]),
        ("sft", vec![]),
    ] {
        let (data, loss) = (singles(21), loss(name, &params));
        let (whole, _) = run(&plan(8, 1, 1), &data, &loss);
        assert_eq!(whole.metrics.len(), 6);
        for (size, count) in [(4, 2), (2, 4), (1, 8)] {
            let (split, _) = run(&plan(size, count, 1), &data, &loss);
            // The weights differ in their last bits after a step, so only the first is equal to the bit.
            let first = |log: &Log| {
                log.dlogps
                    .iter()
                    .filter(|((step, _), _)| *step == 1)
                    .map(|(k, v)| (*k, v.to_bits()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                first(&whole),
                first(&split),
                "{name} {params:?} {size}×{count}"
            );
            assert_eq!(whole.metrics[0].kl_raw, split.metrics[0].kl_raw);
            assert_close(&whole, &split);
        }
    }
}

#[test]
fn pairs_accumulate_exactly_too() {
    let (data, loss) = (pairs(9), loss("dpo", &[]));
    let (whole, _) = run(&plan(4, 1, 1), &data, &loss);
    let (split, _) = run(&plan(1, 4, 1), &data, &loss);
    assert_close(&whole, &split);
    assert!(whole.metrics.iter().all(|metrics| metrics.kl.is_none()));
}

#[test]
fn n_ranks_are_one_rank_of_n_fold_size() {
    for scope in [Scope::Step, Scope::Microbatch] {
        let (data, loss) = (singles(21), loss("kto", &[]));
        let with = |batch_size, ranks| RunPlan {
            scope,
            ..plan(batch_size, 2, ranks)
        };
        let (one, weights) = run(&with(4, 1), &data, &loss);
        // 21 = 2·8 + 5: the last step leaves ranks without any share of its second micro-batch.
        for (size, ranks) in [(2, 2), (1, 4)] {
            let (many, other) = run(&with(size, ranks), &data, &loss);
            assert_close(&one, &many);
            assert_eq!(
                pairs_of(&one),
                pairs_of(&many),
                "the same prompts meet the same completions"
            );
            assert!(
                weights
                    .table
                    .iter()
                    .zip(&other.table)
                    .all(|(a, b)| close(*a, *b))
            );
            let ids = |log: &Log| {
                let mut ids: Vec<_> = log
                    .examples
                    .iter()
                    .map(|e| (e.step, e.id.clone()))
                    .collect();
                ids.sort();
                ids
            };
            assert_eq!(
                ids(&one),
                ids(&many),
                "each example is reported by exactly one rank"
            );
        }
    }
}

fn pairs_of(log: &Log) -> Vec<(u64, usize, usize)> {
    let mut pairs: Vec<_> = log
        .mismatches
        .iter()
        .flat_map(|(&(step, _), pairs)| pairs.iter().map(move |&(x, y)| (step, x, y)))
        .collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn a_new_seed_is_a_new_run_and_the_same_seed_the_same() {
    let (data, loss) = (singles(12), loss("kto", &[]));
    let works = |seed| {
        run(
            &RunPlan {
                seed,
                ..plan(4, 1, 1)
            },
            &data,
            &loss,
        )
        .0
        .works
    };
    assert_eq!(works(1), works(1));
    assert_ne!(works(1), works(2));
}

#[test]
fn z0_of_a_step_is_the_mean_over_its_mismatches_and_of_a_micro_batch_over_its_own() {
    let (data, loss) = (singles(12), loss("kto", &[]));
    for (scope, count) in [(Scope::Step, 1), (Scope::Microbatch, 3)] {
        let plan = RunPlan {
            scope,
            steps: Some(1),
            ..plan(4, 3, 1)
        };
        let (log, _) = run(&plan, &data, &loss);
        let (policy, reference) = (toy::Bigram::random(1), toy::Bigram::random(2));
        let ratio = |&(prompt, completion): &(usize, usize)| {
            let sequences = vec![halo_train::SequenceRef {
                prompt,
                completion,
                grad: false,
            }];
            let job = halo_train::Job::new(&data, sequences);
            policy.logps(&job)[0] - reference.logps(&job)[0]
        };
        let ratios: Vec<f64> = log.mismatches[&(1, 0)].iter().map(ratio).collect();
        assert_eq!(ratios.len(), 12);
        let means: Vec<f64> = ratios
            .chunks(12 / count)
            .map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64)
            .collect();
        let raw = means.iter().sum::<f64>() / count as f64;
        let used = means.iter().map(|mean| mean.max(0.0)).sum::<f64>() / count as f64;
        let clamped = means.iter().filter(|mean| **mean < 0.0).count();
        let metrics = &log.metrics[0];
        assert!(
            close(metrics.kl_raw.unwrap(), raw) && close(metrics.kl.unwrap(), used),
            "{metrics:?} {means:?}"
        );
        let json = serde_json::to_value(metrics).unwrap();
        match scope {
            Scope::Step => assert_eq!(json["kl_clamped"], serde_json::json!(clamped > 0)),
            Scope::Microbatch => assert!(close(
                json["kl_clamped"].as_f64().unwrap(),
                clamped as f64 / 3.0
            )),
        }
        for example in &log.examples {
            assert!(
                means
                    .iter()
                    .any(|mean| close(mean.max(0.0), example.z0.unwrap()))
            );
        }
    }
}

#[test]
fn trls_pairs_are_those_of_its_fixed_groups() {
    let (data, loss) = (singles(11), loss("kto", &[]));
    let plan = RunPlan {
        mismatch: Mismatch::Trl,
        order: Order::File,
        scope: Scope::Microbatch,
        ..plan(4, 2, 1)
    };
    let (log, _) = run(&plan, &data, &loss);
    let first = vec![
        (0, 3),
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 7),
        (5, 4),
        (6, 5),
        (7, 6),
    ];
    let second = vec![(8, 10), (9, 8), (10, 9)];
    let of = |step| &log.mismatches[&(step, 0)];
    assert_eq!(
        (of(1), of(2), of(3), of(4)),
        (&first, &second, &first, &second)
    );
}

#[test]
fn the_learning_rate_follows_the_schedule_over_the_whole_run() {
    let plan = RunPlan {
        schedule: Schedule::Linear,
        warmup_steps: 2,
        learning_rate: 1.0,
        ..plan(2, 2, 1)
    };
    let (log, _) = run(&plan, &singles(12), &loss("sft", &[]));
    let rates: Vec<f64> = log
        .metrics
        .iter()
        .map(|metrics| metrics.learning_rate)
        .collect();
    assert_eq!(rates, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
    assert_eq!(
        log.metrics.iter().map(|m| m.step).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6]
    );
    assert_eq!(
        log.metrics.iter().map(|m| m.epoch).collect::<Vec<_>>(),
        [1. / 3., 2. / 3., 1., 4. / 3., 5. / 3., 2.]
    );
}

#[test]
fn the_gradients_are_those_of_the_whole_step_at_once() {
    let (data, loss) = (singles(10), loss("kto", &[("undesirable_weight", "0.5")]));
    let plan = RunPlan {
        steps: Some(1),
        ..plan(3, 4, 1)
    };
    let (log, _) = run(&plan, &data, &loss);
    let rows: Vec<Row> = log
        .examples
        .iter()
        .map(|example| Row {
            logp: example.logp,
            ref_logp: example.ref_logp.unwrap(),
            tokens: example.tokens,
            label: if example.label {
                Label::Desirable
            } else {
                Label::Undesirable
            },
            z0: example.z0.unwrap(),
            ..Row::default()
        })
        .collect();
    let whole = evaluate(&loss, &rows, &Normalizer::of(&loss, &rows)).unwrap();
    for (example, dlogp) in log.examples.iter().zip(&whole.dlogps) {
        let record = data
            .records
            .iter()
            .position(|record| record.id == example.id)
            .unwrap();
        assert_eq!(log.dlogps[&(1, record)], *dlogp);
    }
    assert_eq!(log.dlogps.len(), 10);
    assert!(close(log.metrics[0].loss, whole.loss));
}

#[test]
fn with_ranks_trls_groups_are_each_ranks_own() {
    let plan = RunPlan {
        mismatch: Mismatch::Trl,
        order: Order::File,
        scope: Scope::Microbatch,
        ..plan(2, 1, 2)
    };
    let (log, _) = run(&plan, &singles(7), &loss("kto", &[]));
    assert_eq!(log.mismatches[&(1, 0)], [(0, 1), (1, 0)]);
    assert_eq!(log.mismatches[&(1, 1)], [(2, 3), (3, 2)]);
    assert_eq!(log.mismatches[&(2, 0)], [(4, 5), (5, 4)]);
    // A last group of one meets itself, as in TRL.
    assert_eq!(log.mismatches[&(2, 1)], [(6, 6)]);
}

#[test]
fn training_widens_the_margin_of_rewards() {
    for (data, loss) in [
        (singles(24), loss("kto", &[])),
        (pairs(12), loss("dpo", &[])),
    ] {
        let plan = RunPlan {
            epochs: 20.0,
            learning_rate: 5.0,
            ..plan(4, 2, 1)
        };
        let (log, _) = run(&plan, &data, &loss);
        let margins: Vec<f64> = log
            .metrics
            .iter()
            .filter_map(|metrics| metrics.rewards_margins)
            .collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (first, last) = (mean(&margins[..3]), mean(&margins[margins.len() - 3..]));
        assert!(last > first + 0.1, "{first} {last}");
    }
}

#[test]
fn steps_of_one_example_meet_another_completion_every_epoch() {
    let plan = RunPlan {
        order: Order::File,
        epochs: 4.0,
        ..plan(1, 1, 1)
    };
    let (log, _) = run(&plan, &singles(20), &loss("kto", &[]));
    let met = |step: u64| log.mismatches[&(step, 0)][0].1;
    let repeated = (1..=20)
        .filter(|&step| (1..4).all(|epoch| met(step) == met(step + 20 * epoch)))
        .count();
    assert!(
        repeated < 5,
        "{repeated} of 20 prompts always meet the same completion"
    );
}
