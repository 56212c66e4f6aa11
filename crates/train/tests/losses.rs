//! Every kind of loss through the machine: tokens, coupled pairs, points with a memory or of single rows, and what changes over a run.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use halo_loss::{Label, Loss, Normalizer, Row, Scope, evaluate};
use halo_train::{
    Dataset, Machine, MachineState, Mismatch, Order, Ramp, RampShape, Record, ReferenceSync,
    RunPlan, StepMetrics, SyncMoment, Unit,
};
use toy::{Bigram, Log, drive, drive_until, loss, pairs, run, singles};

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

/// A loss with its data: what `same_step.rs` does not look at.
fn cases() -> Vec<(Arc<Dataset>, Loss)> {
    let (singles, pairs) = (singles(21), pairs(10));
    let alone = |name: &str, params: &[(&str, &str)]| (singles.clone(), loss(name, params));
    let paired = |name: &str, params: &[(&str, &str)]| (pairs.clone(), loss(name, params));
    let point = |name: &str| alone("kto", &[("reference_point", name)]);
    // clamp_first is not among them: it clamps the mean of each share before it averages, so cuts are what it is about.
    let mut cases = vec![
        alone("grpo", &[("kl_beta", "0.1")]),
        alone("dapo", &[]),
        alone("dr_grpo", &[]),
        alone("cispo", &[]),
        alone("gspo", &[]),
        alone("rloo", &[]),
        alone("ppo_clip", &[]),
        alone("grpo", &[("humanline", "true")]),
        alone("bco", &[]),
        alone("kto", &[("humanline", "true")]),
        alone("kto + 0.1*sft", &[]),
        paired("aot", &[]),
        paired("aot", &[("humanline", "true")]),
        paired("aot_unpaired", &[("label_smoothing", "0.1")]),
        paired("aot_unpaired", &[("humanline", "true")]),
        paired("aot + 0.5*sft", &[("sft.average", "sequence")]),
        paired("aot + 0.5*bco_pair", &[]),
        paired("0.5*aot + dpo", &[("dpo.wpo", "exact")]),
        paired("bco_pair", &[]),
        paired("dpo", &[("ld_alpha", "0.5"), ("wpo", "exact")]),
        paired("dpo + 0.5*sft", &[]),
    ];
    for name in [
        "running_mean",
        "ema",
        "ring_buffer",
        "leave_one_out",
        "per_prompt",
        "token_max",
        "class_opposite",
        "class_mean",
    ] {
        cases.push(point(name));
    }
    cases
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-10 * (1.0 + a.abs())
}

/// Equal but for the order of additions; forward passes that were repeated count their rows again.
fn assert_close(a: &Log, b: &Log, what: &str) {
    let keys = |log: &Log| log.dlogps.keys().copied().collect::<Vec<_>>();
    assert_eq!(keys(a), keys(b), "{what}");
    for ((key, a), b) in a.dlogps.iter().zip(b.dlogps.values()) {
        assert!(close(*a, *b), "{what} {key:?}: {a} {b}");
    }
    assert_eq!(a.metrics.len(), b.metrics.len(), "{what}");
    for (a, b) in a.metrics.iter().zip(&b.metrics) {
        let json = |m: &StepMetrics| {
            let metrics = StepMetrics {
                tokens: 0,
                ..m.clone()
            };
            serde_json::to_value(metrics).unwrap()
        };
        for (key, value) in json(a).as_object().unwrap() {
            match (value.as_f64(), json(b)[key].as_f64()) {
                (Some(a), Some(b)) => assert!(close(a, b), "{what} {key}: {a} {b}"),
                _ => assert_eq!(*value, json(b)[key], "{what} {key}"),
            }
        }
    }
}

#[test]
fn neither_micro_batches_nor_ranks_change_any_loss() {
    for (data, loss) in cases() {
        let (whole, weights) = run(&plan(8, 1, 1), &data, &loss);
        assert!(whole.dlogps.values().any(|dlogp| *dlogp != 0.0), "{loss}");
        for (size, count, ranks) in [
            (4, 2, 1),
            (2, 4, 1),
            (1, 8, 1),
            (4, 1, 2),
            (2, 2, 2),
            (1, 2, 4),
        ] {
            let what = format!("{loss} {size}×{count} on {ranks}");
            let (cut, other) = run(&plan(size, count, ranks), &data, &loss);
            assert_close(&whole, &cut, &what);
            let mut weights = weights.table.iter().zip(&other.table);
            assert!(weights.all(|(a, b)| close(*a, *b)), "{what}");
        }
    }
}

/// Goes on until the checkpoint after `step` is due: only then is everything of the step done.
fn resumes(data: &Arc<Dataset>, loss: &Loss, plan: &RunPlan) {
    let new = || Machine::new(plan.clone(), data.clone(), loss.clone()).unwrap();
    let reference = Bigram::random(2);
    let mut policy = Bigram::random(1);
    let whole = drive(&mut [new()], &mut policy, &reference);
    for stop in 0..=new().total_steps() {
        let (mut weights, mut machines) = (Bigram::random(1), [new()]);
        let before = drive_until(&mut machines, &mut weights, &reference, stop);
        let saved = serde_json::to_string(&machines[0].state()).unwrap();
        let state: MachineState = serde_json::from_str(&saved).unwrap();
        let restored = Machine::restore(plan.clone(), data.clone(), loss.clone(), &state).unwrap();
        let after = drive(&mut [restored], &mut weights, &reference);
        let works = before.works.iter().chain(&after.works);
        let works: Vec<&String> = works
            .filter(|work| !work.starts_with("Checkpoint"))
            .collect();
        let expected = whole.works.iter();
        let expected: Vec<&String> = expected
            .filter(|work| !work.starts_with("Checkpoint"))
            .collect();
        assert_eq!(works, expected, "{loss}, stopped at {stop}");
        assert_eq!(weights, policy, "{loss}, stopped at {stop}");
    }
}

#[test]
fn every_loss_resumes_after_each_step_with_the_same_works() {
    for (data, loss) in cases() {
        resumes(&data, &loss, &plan(2, 2, 1));
    }
}

#[test]
fn what_a_reference_point_remembers_is_in_the_state() {
    for (name, width) in [
        ("running_mean", 1..9),
        ("ema", 1..9),
        ("ring_buffer", 4..99),
    ] {
        let loss = loss("kto", &[("reference_point", name)]);
        let mut machines = [Machine::new(plan(4, 1, 1), singles(21), loss).unwrap()];
        assert!(machines[0].state().memory.is_empty());
        drive_until(&mut machines, &mut Bigram::random(1), &Bigram::random(2), 2);
        let memory = machines[0].state().memory;
        assert!(width.contains(&memory.len()), "{name}: {memory:?}");
        assert!(memory.iter().all(|x| x.is_finite()));
    }
}

fn ramp(key: &str, to: f64) -> BTreeMap<String, Ramp> {
    let ramp = Ramp {
        to,
        shape: RampShape::Linear,
        start: 0.0,
        end: 1.0,
    };
    BTreeMap::from([(key.to_string(), ramp)])
}

/// A row as a step saw it.
fn row(record: &halo_train::ExampleRecord) -> Row {
    Row {
        logp: record.logp,
        ref_logp: record.ref_logp.unwrap_or_default(),
        tokens: record.tokens,
        label: match record.label {
            true => Label::Desirable,
            false => Label::Undesirable,
        },
        z0: record.z0.unwrap_or_default(),
        ..Row::default()
    }
}

/// The step's loss, from what was recorded of its examples.
fn again(log: &Log, step: u64, loss: &Loss) -> f64 {
    let seen = log.examples.iter().filter(|example| example.step == step);
    let rows: Vec<Row> = seen.map(row).collect();
    evaluate(loss, &rows, &Normalizer::of(loss, &rows))
        .unwrap()
        .loss
}

#[test]
fn a_scheduled_parameter_reaches_the_loss() {
    let (data, loss) = (
        singles(20),
        loss("kto", &[("reference_point", "batch_mean")]),
    );
    let plan = RunPlan {
        steps: Some(5),
        loss_schedule: ramp("beta", 0.5),
        ..plan(4, 1, 1)
    };
    let (log, _) = run(&plan, &data, &loss);
    for (step, beta) in (1..=5).zip([0.1, 0.2, 0.3, 0.4, 0.5]) {
        let expected = again(&log, step, &loss.with("beta", beta).unwrap());
        let found = log.metrics[step as usize - 1].loss;
        assert!(close(found, expected), "step {step}: {found} {expected}");
    }
}

#[test]
fn a_scheduled_class_weight_is_in_the_records_of_examples() {
    let plan = RunPlan {
        steps: Some(5),
        loss_schedule: ramp("desirable_weight", 3.0),
        ..plan(4, 1, 1)
    };
    let (log, _) = run(&plan, &singles(20), &loss("kto", &[]));
    for example in &log.examples {
        let expected = if example.label {
            1.0 + 0.5 * (example.step - 1) as f64
        } else {
            1.0
        };
        assert!(close(example.weight, expected), "{example:?}");
    }
}

#[test]
fn a_schedule_may_switch_on_what_reads_tokens() {
    for (from, to) in [("1", 0.5), ("0.5", 1.0)] {
        let plan = RunPlan {
            steps: Some(3),
            loss_schedule: ramp("ld_alpha", to),
            ..plan(2, 2, 1)
        };
        let (log, _) = run(&plan, &pairs(8), &loss("dpo", &[("ld_alpha", from)]));
        assert_eq!(log.metrics.len(), 3);
        // At 1 it is DPO itself.
        let step = if from == "1" { 1 } else { 3 };
        let expected = again(&log, step, &loss("dpo", &[]));
        assert!(close(log.metrics[step as usize - 1].loss, expected));
        let other = again(&log, 2, &loss("dpo", &[]));
        assert!(!close(log.metrics[1].loss, other));
    }
}

#[test]
fn a_scheduled_decay_reaches_the_estimator() {
    let with = |schedule| RunPlan {
        steps: Some(4),
        loss_schedule: schedule,
        ..plan(4, 1, 1)
    };
    let loss = loss(
        "kto",
        &[("reference_point", "ema"), ("reference_point_decay", "0.9")],
    );
    let kl = |plan| {
        run(&plan, &singles(20), &loss)
            .0
            .metrics
            .iter()
            .map(|m| m.kl_raw.unwrap())
            .collect::<Vec<_>>()
    };
    let (fixed, moving) = (
        kl(with(BTreeMap::new())),
        kl(with(ramp("reference_point_decay", 0.1))),
    );
    assert_eq!(fixed[0], moving[0]);
    assert!(!close(fixed[2], moving[2]), "{fixed:?} {moving:?}");
}

#[test]
fn the_reference_moves_at_its_moment() {
    for moment in [SyncMoment::Before, SyncMoment::After] {
        let plan = RunPlan {
            steps: Some(6),
            save_every: Some(1),
            reference_sync: Some(ReferenceSync {
                mix: 0.5,
                every: 2,
                moment,
            }),
            ..plan(4, 1, 1)
        };
        let (log, _) = run(&plan, &pairs(12), &loss("dpo", &[]));
        let word = |work: &String| {
            let name = work.split([' ', '(']).next().unwrap_or_default();
            ["OptimizerStep", "SyncReference", "Checkpoint"]
                .into_iter()
                .find(|w| *w == name)
        };
        let script: Vec<&str> = log.works.iter().filter_map(word).collect();
        let two: &[&str] = match moment {
            SyncMoment::Before => &[
                "OptimizerStep",
                "Checkpoint",
                "SyncReference",
                "OptimizerStep",
                "Checkpoint",
            ],
            SyncMoment::After => &[
                "OptimizerStep",
                "Checkpoint",
                "OptimizerStep",
                "SyncReference",
                "Checkpoint",
            ],
        };
        assert_eq!(script, two.repeat(3), "{moment:?}");
        let done: Vec<u64> = log.syncs.iter().map(|(step, _)| *step).collect();
        match moment {
            SyncMoment::Before => assert_eq!(done, [1, 3, 5]),
            SyncMoment::After => assert_eq!(done, [2, 4, 6]),
        }
        assert!(log.syncs.iter().all(|(_, mix)| *mix == 0.5));
    }
}

#[test]
fn after_a_whole_synchronisation_policy_and_reference_agree() {
    let sync = |moment| RunPlan {
        steps: Some(4),
        reference_sync: Some(ReferenceSync {
            mix: 1.0,
            every: 1,
            moment,
        }),
        ..plan(4, 1, 1)
    };
    let (after, _) = run(&sync(SyncMoment::After), &pairs(12), &loss("dpo", &[]));
    let ratio = |e: &halo_train::ExampleRecord| e.logp - e.ref_logp.unwrap();
    assert!(
        after
            .examples
            .iter()
            .filter(|e| e.step > 1)
            .all(|e| ratio(e) == 0.0)
    );
    // Before the update the reference lags by that update.
    let (before, _) = run(&sync(SyncMoment::Before), &pairs(12), &loss("dpo", &[]));
    assert!(
        before
            .examples
            .iter()
            .filter(|e| e.step > 1)
            .all(|e| ratio(e) != 0.0)
    );
}

#[test]
fn a_reference_that_nobody_asks_cannot_move() {
    let plan = RunPlan {
        reference_sync: Some(ReferenceSync {
            mix: 1.0,
            every: 1,
            moment: SyncMoment::After,
        }),
        ..plan(4, 1, 1)
    };
    let error = Machine::new(plan, singles(8), loss("sft", &[])).unwrap_err();
    assert!(error.is_parameter());
    assert_eq!(error.to_string(), "reference_sync: sft needs no reference");
}

#[test]
fn halos_pairs_are_those_of_each_micro_batch() {
    let plan = RunPlan {
        mismatch: Mismatch::Halos,
        order: Order::File,
        scope: Scope::Microbatch,
        ..plan(3, 2, 1)
    };
    let loss = loss("kto", &[("reference_point", "halos")]);
    let (log, _) = run(&plan, &singles(8), &loss);
    assert_eq!(
        log.mismatches[&(1, 0)],
        [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]
    );
    assert_eq!(log.mismatches[&(2, 0)], [(6, 7), (7, 6)]);
}

/// The data with one of its records changed.
fn changed(data: &Dataset, at: usize, change: impl Fn(&mut Record)) -> Arc<Dataset> {
    let mut records = data.records.clone();
    change(&mut records[at]);
    Arc::new(Dataset::new(records, data.units.clone()).unwrap())
}

#[test]
fn rewards_must_be_there_where_answers_are_compared() {
    let data = changed(&singles(9), 4, |record| record.score = None);
    for name in ["grpo", "dapo", "rloo"] {
        let error = Machine::new(plan(2, 1, 1), data.clone(), loss(name, &[])).unwrap_err();
        assert!(error.is_data());
        let expected = format!(
            "{name} compares the rewards of a prompt's answers, but record \"r4\" has no `score`"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn sampling_probabilities_are_given_for_all_records_or_for_none() {
    let data = singles(9);
    let with = |record: &mut Record| record.old_logps = vec![-1.0; record.scored_tokens() as usize];
    let error =
        Machine::new(plan(2, 1, 1), changed(&data, 4, with), loss("grpo", &[])).unwrap_err();
    assert!(error.is_data());
    assert_eq!(
        error.to_string(),
        "grpo: 8 of 9 records have no `old_logps`, the others have: give all or none"
    );
    let mut records = data.records.clone();
    records.iter_mut().for_each(with);
    let all = Arc::new(Dataset::new(records, data.units.clone()).unwrap());
    // With them no reference is needed, and the ratios are those to the given numbers.
    let (given, _) = run(&plan(9, 1, 1), &all, &loss("grpo", &[]));
    let (none, _) = run(&plan(9, 1, 1), &data, &loss("grpo", &[]));
    let asks = |log: &Log| log.works.iter().any(|work| work.contains("Reference"));
    assert!(!asks(&given) && asks(&none));
    assert_ne!(given.metrics[0].loss, none.metrics[0].loss);
}

#[test]
fn an_examples_weight_and_beta_reach_the_loss() {
    let data = singles(8);
    let plan = RunPlan {
        steps: Some(1),
        order: Order::File,
        ..plan(8, 1, 1)
    };
    let kto = loss("kto", &[("reference_point", "zero")]);
    let (base, _) = run(&plan, &data, &kto);
    let (heavy, _) = run(&plan, &changed(&data, 3, |r| r.weight = 2.0), &kto);
    let (hard, _) = run(&plan, &changed(&data, 3, |r| r.beta_scale = 2.0), &kto);
    for record in 0..8 {
        let of = |log: &Log| log.dlogps[&(1, record)];
        match record {
            3 => {
                assert!(close(of(&heavy), 2.0 * of(&base)));
                let row = Row {
                    beta_scale: 2.0,
                    ..row(&base.examples[3])
                };
                let norm = Normalizer {
                    units: 8.0,
                    ..Normalizer::default()
                };
                assert!(close(
                    of(&hard),
                    evaluate(&kto, &[row], &norm).unwrap().dlogps[0]
                ));
            }
            _ => assert_eq!((of(&heavy), of(&hard)), (of(&base), of(&base))),
        }
    }
    assert_eq!(heavy.examples[3].weight, 2.0);
}

#[test]
fn coupled_pairs_keep_their_weights_and_betas_when_a_step_is_cut() {
    for name in ["aot", "aot_unpaired"] {
        let data = changed(&pairs(10), 4, |r| (r.weight, r.beta_scale) = (3.0, 2.0));
        let (whole, _) = run(&plan(8, 1, 1), &data, &loss(name, &[]));
        let (plain, _) = run(&plan(8, 1, 1), &pairs(10), &loss(name, &[]));
        assert_ne!(whole.dlogps, plain.dlogps);
        for (size, count, ranks) in [(2, 4, 1), (2, 2, 2)] {
            let (cut, _) = run(&plan(size, count, ranks), &data, &loss(name, &[]));
            assert_close(&whole, &cut, name);
        }
    }
}

#[test]
fn a_loss_of_diffusion_models_is_refused() {
    let error = Machine::new(plan(2, 1, 1), pairs(4), loss("diffusion_dpo", &[])).unwrap_err();
    assert!(error.is_parameter());
    assert!(
        error
            .to_string()
            .starts_with("diffusion_dpo reads denoising errors"),
        "{error}"
    );
    let units = vec![Unit::Single(0)];
    let one = Dataset::new(singles(3).records.clone(), units).unwrap();
    assert!(Machine::new(plan(2, 1, 1), Arc::new(one), loss("diffusion_kto", &[])).is_err());
}
