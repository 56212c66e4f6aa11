//! What the machine asks, in which order, and how it takes wrong answers and wrong settings.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use halo_loss::Label;
use halo_loss::Scope;
use halo_train::{
    Answer, Dataset, ExampleRecord, Gradient, Machine, Record, RunPlan, Unit, Which, Work,
};
use toy::{loss, pairs, run, singles};

#[path = "support/toy.rs"]
mod toy;

fn plan(batch_size: usize, gradient_accumulation_steps: usize) -> RunPlan {
    RunPlan {
        batch_size,
        gradient_accumulation_steps,
        steps: Some(1),
        ..RunPlan::default()
    }
}

/// The kinds of work of a one-step run; sequences of a job as `y` and `y'` counts.
fn script(plan: RunPlan, data: Arc<Dataset>, loss: halo_loss::Loss) -> Vec<String> {
    let mut machine = Machine::new(plan, data, loss).unwrap();
    let mut script = Vec::new();
    loop {
        let work = machine.next().unwrap();
        let (line, answer) = match &work {
            Work::Forward {
                job, model, tape, ..
            } => {
                let own = job.sequences.iter().filter(|s| s.grad).count();
                let who = if *model == Which::Policy {
                    "policy"
                } else {
                    "reference"
                };
                let taped = if *tape { ", taped" } else { "" };
                let logps = vec![-1.0; job.sequences.len()];
                (
                    format!("{who} {own}+{}{taped}", job.sequences.len() - own),
                    Answer::Logps(logps),
                )
            }
            Work::Reduce { sums } => (
                format!("reduce {}", sums.len()),
                Answer::Reduced(sums.clone()),
            ),
            Work::Backward {
                dlogps: Gradient::Sequences(dlogps) | Gradient::Tokens(dlogps),
                ..
            } => (format!("backward {}", dlogps.len()), Answer::Finished),
            Work::SyncReference { mix } => (format!("sync {mix}"), Answer::Finished),
            Work::ReduceGradients => ("gradients".into(), Answer::Finished),
            Work::OptimizerStep { step, .. } => {
                (format!("update {step}"), Answer::Stepped { grad_norm: 1.0 })
            }
            Work::Checkpoint { step } => (format!("checkpoint {step}"), Answer::Finished),
            Work::Done => return script,
        };
        script.push(line);
        machine.submit(answer).unwrap();
    }
}

#[test]
fn one_micro_batch_holds_y_and_its_mismatches_together() {
    let expected = [
        "reference 4+4",
        "policy 4+4, taped",
        "backward 8",
        "update 1",
        "checkpoint 1",
    ];
    assert_eq!(script(plan(4, 1), singles(4), loss("kto", &[])), expected);
}

#[test]
fn a_shared_z0_comes_before_the_first_backward() {
    let expected = [
        "reference 0+2",
        "policy 0+2",
        "reference 0+2",
        "policy 0+2",
        "reference 2+0",
        "policy 2+0, taped",
        "backward 2",
        "reference 2+0",
        "policy 2+0, taped",
        "backward 2",
        "update 1",
        "checkpoint 1",
    ];
    assert_eq!(script(plan(2, 2), singles(4), loss("kto", &[])), expected);
}

#[test]
fn a_z0_of_its_own_needs_no_second_pass() {
    let expected = [
        "reference 2+2",
        "policy 2+2, taped",
        "backward 4",
        "reference 2+2",
        "policy 2+2, taped",
        "backward 4",
        "update 1",
        "checkpoint 1",
    ];
    let plan = RunPlan {
        scope: Scope::Microbatch,
        ..plan(2, 2)
    };
    assert_eq!(script(plan, singles(4), loss("kto", &[])), expected);
}

#[test]
fn a_z0_from_the_examples_themselves_runs_them_twice_but_the_reference_once() {
    let expected = [
        "reference 2+0",
        "policy 2+0",
        "reference 2+0",
        "policy 2+0",
        "policy 2+0, taped",
        "backward 2",
        "policy 2+0, taped",
        "backward 2",
        "update 1",
        "checkpoint 1",
    ];
    assert_eq!(
        script(
            plan(2, 2),
            singles(4),
            loss("kto", &[("reference_point", "batch_mean")])
        ),
        expected
    );
}

#[test]
fn losses_without_z0_or_reference_ask_for_less() {
    let expected = [
        "reference 4+0",
        "policy 4+0, taped",
        "backward 4",
        "update 1",
        "checkpoint 1",
    ];
    assert_eq!(script(plan(2, 1), pairs(2), loss("dpo", &[])), expected);
    assert_eq!(
        script(
            plan(4, 1),
            singles(4),
            loss("kto", &[("reference_point", "zero")])
        ),
        expected
    );
    assert_eq!(
        script(plan(4, 1), singles(4), loss("sft", &[]))[..],
        expected[1..]
    );
}

#[test]
fn several_ranks_add_up_z0_metrics_and_gradients() {
    let plan = RunPlan {
        ranks: 2,
        ..plan(2, 1)
    };
    let expected = [
        "reference 2+2",
        "policy 2+2, taped",
        "reduce 4",
        "backward 4",
        "reduce 21",
        "gradients",
        "update 1",
        "checkpoint 1",
    ];
    assert_eq!(script(plan, singles(4), loss("kto", &[])), expected);
}

#[test]
fn a_wrong_answer_is_named_and_the_right_one_still_taken() {
    let mut machine = Machine::new(plan(2, 1), singles(4), loss("kto", &[])).unwrap();
    let early = machine.submit(Answer::Finished).unwrap_err();
    assert!(early.is_protocol());
    assert_eq!(
        early.to_string(),
        "Finished was submitted, but nothing was asked: call next first"
    );

    let first = format!("{:?}", machine.next().unwrap());
    assert_eq!(
        format!("{:?}", machine.next().unwrap()),
        first,
        "asked again, it says the same"
    );
    for (answer, message) in [
        (
            Answer::Finished,
            "Forward was asked and expects Logps, not Finished",
        ),
        (
            Answer::Logps(vec![-1.0; 3]),
            "Forward expects 4 log-probabilities, one a sequence, not 3",
        ),
    ] {
        let error = machine.submit(answer).unwrap_err();
        assert!(error.is_protocol());
        assert_eq!(error.to_string(), message);
    }
    let error = machine
        .submit(Answer::Logps(vec![-1.0, f64::NAN, -1.0, -1.0]))
        .unwrap_err();
    assert!(error.is_numeric() && error.record().is_some());
    assert!(
        error
            .to_string()
            .starts_with("step 1: the reference's log-probability of \"r"),
        "{error}"
    );
    assert!(error.to_string().ends_with("is NaN"), "{error}");

    assert_eq!(format!("{:?}", machine.next().unwrap()), first);
    machine.submit(Answer::Logps(vec![-1.0; 4])).unwrap();
    assert!(matches!(
        machine.next().unwrap(),
        Work::Forward {
            model: Which::Policy,
            tape: true,
            ..
        }
    ));
    machine.submit(Answer::Logps(vec![-1.0; 4])).unwrap();
    machine.next().unwrap();
    machine.submit(Answer::Finished).unwrap();
    assert!(matches!(
        machine.next().unwrap(),
        Work::OptimizerStep { step: 1, .. }
    ));
    assert!(
        machine
            .submit(Answer::Stepped {
                grad_norm: f64::INFINITY
            })
            .unwrap_err()
            .is_numeric()
    );
    machine.submit(Answer::Stepped { grad_norm: 0.5 }).unwrap();
    let metrics = machine.take_metrics().unwrap();
    assert_eq!((metrics.step, metrics.grad_norm), (1, 0.5));
    assert!(
        machine.take_metrics().is_none()
            && machine.take_examples().len() == 2
            && machine.take_examples().is_empty()
    );
}

#[test]
fn data_of_another_shape_is_refused() {
    for (data, loss, wanted) in [
        (
            singles(4),
            loss("dpo", &[]),
            "dpo takes pairs of chosen and rejected",
        ),
        (
            pairs(2),
            loss("kto", &[]),
            "kto takes single labelled examples",
        ),
        (
            pairs(2),
            loss("sft", &[]),
            "sft takes single labelled examples",
        ),
    ] {
        let error = Machine::new(plan(2, 1), data, loss).unwrap_err();
        assert!(error.is_data());
        assert!(error.to_string().starts_with(wanted), "{error}");
    }
    assert!(
        Machine::new(plan(0, 1), singles(4), loss("sft", &[]))
            .unwrap_err()
            .is_parameter()
    );
}

#[test]
fn data_without_any_mismatch_is_refused_before_the_run() {
    let record = |prompt: u32, completion: u32| Record {
        id: format!("{prompt}/{completion}"),
        prompt: vec![prompt],
        completion: vec![completion],
        label: Label::Desirable,
        ..Record::default()
    };
    let data = |records: Vec<Record>| {
        let units = (0..records.len()).map(Unit::Single).collect();
        Arc::new(Dataset::new(records, units).unwrap())
    };
    let kto = || loss("kto", &[]);
    for records in [
        vec![record(1, 1)],
        vec![record(1, 1), record(1, 2), record(1, 3)], // siblings only
        vec![record(1, 5), record(2, 5), record(3, 5)], // one text only
        vec![record(1, 1), record(2, 2), record(1, 2)], // the third has the one's prompt and the other's text
    ] {
        let error = Machine::new(plan(2, 1), data(records.clone()), kto()).unwrap_err();
        assert!(
            error.is_data() && error.to_string().contains("no mismatched completion"),
            "{error}"
        );
        assert!(
            Machine::new(
                plan(2, 1),
                data(records),
                loss("kto", &[("reference_point", "zero")])
            )
            .is_ok()
        );
    }
    let fourth = vec![record(1, 1), record(2, 2), record(1, 2), record(3, 1)];
    assert!(Machine::new(plan(2, 1), data(fourth), kto()).is_ok());
}

#[test]
fn a_line_of_metrics_has_exactly_the_keys_of_the_file() {
    let (log, _) = run(&plan(4, 1), &singles(4), &loss("kto", &[]));
    let json = serde_json::to_value(&log.metrics[0]).unwrap();
    let keys: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "step",
            "epoch",
            "loss",
            "kl",
            "kl_raw",
            "kl_clamped",
            "rewards/chosen",
            "rewards/rejected",
            "rewards/margins",
            "logps/chosen",
            "logps/rejected",
            "learnt",
            "active",
            "given_up",
            "clipped",
            "inside",
            "grad_norm",
            "learning_rate",
            "tokens",
            "completion_tokens",
        ]
    );
    let metrics = &log.metrics[0];
    assert_eq!(metrics.learnt + metrics.active + metrics.given_up, 1.0);
    let data = singles(4);
    let completions: usize = data
        .records
        .iter()
        .map(|record| record.completion.len())
        .sum();
    assert_eq!(metrics.completion_tokens, completions as u64);
    // One class in a step: its metrics are there, the other's are null.
    let (one, _) = run(
        &RunPlan {
            order: halo_train::Order::File,
            steps: Some(2),
            ..plan(2, 1)
        },
        &data,
        &loss("kto", &[]),
    );
    let json = serde_json::to_value(&one.metrics[1]).unwrap();
    assert!(
        json["rewards/chosen"].is_null()
            && json["rewards/margins"].is_null()
            && json["logps/chosen"].is_null()
    );
    assert!(json["rewards/rejected"].is_number());
}

#[test]
fn examples_are_the_rows_of_the_loss() {
    let plan = RunPlan {
        steps: Some(2),
        ..plan(4, 1)
    };
    let kto = loss("kto", &[("undesirable_weight", "0.25")]);
    let data = singles(8);
    let (log, _) = run(&plan, &data, &kto);
    assert_eq!(log.examples.len(), 8);
    for example in &log.examples {
        let record = data
            .records
            .iter()
            .find(|record| record.id == example.id)
            .unwrap();
        assert_eq!(
            (example.tokens, example.group),
            (record.scored_tokens(), record.group)
        );
        assert_eq!(example.label, record.label == Label::Desirable);
        assert_eq!(example.weight, if example.label { 1.0 } else { 0.25 });
        assert_eq!(example.z0, log.metrics[example.step as usize - 1].kl);
    }
    let first = &log.metrics[0];
    for (label, reward, logp) in [
        (true, first.rewards_chosen, first.logps_chosen),
        (false, first.rewards_rejected, first.logps_rejected),
    ] {
        let class: Vec<_> = log
            .examples
            .iter()
            .filter(|e| e.step == 1 && e.label == label)
            .collect();
        let mean = |of: &dyn Fn(&ExampleRecord) -> f64| {
            class.iter().map(|e| of(e)).sum::<f64>() / class.len() as f64
        };
        assert!((mean(&|e| 0.1 * (e.logp - e.ref_logp.unwrap())) - reward.unwrap()).abs() < 1e-12);
        assert!((mean(&|e| e.logp) - logp.unwrap()).abs() < 1e-12);
    }
    let margin = first.rewards_chosen.unwrap() - first.rewards_rejected.unwrap();
    assert_eq!(first.rewards_margins, Some(margin));

    let header = Machine::new(plan, data, kto)
        .unwrap()
        .example_header("halo 0.1.0");
    let json = serde_json::to_value(header).unwrap();
    assert_eq!(json["format"], "halo.examples");
    assert_eq!(
        (&json["version"], &json["loss"]),
        (&serde_json::json!(1), &serde_json::json!("kto"))
    );
    assert_eq!(json["params"]["undesirable_weight"], 0.25);
    let line = serde_json::to_value(&log.examples[0]).unwrap();
    let keys: Vec<&str> = line
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "id", "step", "label", "logp", "ref_logp", "tokens", "z0", "weight", "group"
        ]
    );
}
