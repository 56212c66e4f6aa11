//! A machine restored from its state at any step asks exactly what the uninterrupted one asks.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use halo_loss::Scope;
use halo_train::{Dataset, Machine, MachineState, RunPlan, Schedule, Unit};
use toy::{Bigram, drive, drive_until, loss, pairs, singles};

#[path = "support/toy.rs"]
mod toy;

fn plan() -> RunPlan {
    RunPlan {
        batch_size: 2,
        gradient_accumulation_steps: 2,
        epochs: 2.0,
        seed: 5,
        learning_rate: 0.2,
        schedule: Schedule::Cosine,
        warmup_steps: 2,
        save_every: Some(2),
        ..RunPlan::default()
    }
}

#[test]
fn every_further_work_is_the_same() {
    let cases = [
        (singles(13), loss("kto", &[]), plan()),
        (
            singles(13),
            loss("kto", &[]),
            RunPlan {
                scope: Scope::Microbatch,
                ..plan()
            },
        ),
        (pairs(7), loss("dpo", &[]), plan()),
        (singles(13), loss("sft", &[]), plan()),
    ];
    for (data, loss, plan) in cases {
        let new = || Machine::new(plan.clone(), data.clone(), loss.clone()).unwrap();
        let reference = Bigram::random(2);
        let mut policy = Bigram::random(1);
        let whole = drive(&mut [new()], &mut policy, &reference);
        let total = new().total_steps();
        assert_eq!(
            whole.checkpoints,
            (1..=total)
                .filter(|s| s % 2 == 0 || *s == total)
                .collect::<Vec<_>>()
        );

        for stop in 0..=total {
            let mut weights = Bigram::random(1);
            let mut machines = [new()];
            let before = drive_until(&mut machines, &mut weights, &reference, stop);
            let saved = serde_json::to_string(&machines[0].state()).unwrap();
            let state: MachineState = serde_json::from_str(&saved).unwrap();
            let restored =
                Machine::restore(plan.clone(), data.clone(), loss.clone(), &state).unwrap();
            let after = drive(&mut [restored], &mut weights, &reference);

            let works: Vec<&String> = before.works.iter().chain(&after.works).collect();
            let expected: Vec<&String> = whole
                .works
                .iter()
                // The checkpoint at the very step of the stop was the saving itself.
                .filter(|work| stop == 0 || **work != format!("Checkpoint {{ step: {stop} }}"))
                .collect();
            assert_eq!(works, expected);
            let metrics: Vec<_> = before.metrics.iter().chain(&after.metrics).collect();
            assert_eq!(metrics, whole.metrics.iter().collect::<Vec<_>>());
            assert_eq!(weights, policy, "to the bit");
        }
    }
}

#[test]
fn the_state_in_the_middle_of_a_step_is_the_one_before_it() {
    let mut machine = Machine::new(plan(), singles(9), loss("kto", &[])).unwrap();
    let before = machine.state();
    machine.next().unwrap();
    assert_eq!(machine.state(), before);
}

#[test]
fn a_changed_run_is_refused_by_name() {
    let (data, kto) = (singles(9), loss("kto", &[]));
    let state = Machine::new(plan(), data.clone(), kto.clone())
        .unwrap()
        .state();
    let refused =
        |plan: RunPlan, data: &Arc<Dataset>, loss: &halo_loss::Loss, state: &MachineState| {
            let error = Machine::restore(plan, data.clone(), loss.clone(), state).unwrap_err();
            assert!(error.is_state(), "{error}");
            error.to_string()
        };
    assert!(
        refused(
            RunPlan {
                batch_size: 3,
                ..plan()
            },
            &data,
            &kto,
            &state
        )
        .contains("batch_size = 3")
    );
    assert!(refused(plan(), &data, &loss("sft", &[]), &state).contains("loss = \"sft\""));
    assert!(
        refused(plan(), &data, &loss("kto", &[("beta", "0.3")]), &state)
            .contains("kto: beta = 0.3, but the saved run has 0.1")
    );
    let mut shorter = Dataset::clone(&data);
    shorter.units = (0..8).map(Unit::Single).collect();
    assert!(refused(plan(), &Arc::new(shorter), &kto, &state).contains("data"));
    let newer = MachineState {
        version: 99,
        ..state
    };
    assert!(refused(plan(), &data, &kto, &newer).contains("version 99"));
}
