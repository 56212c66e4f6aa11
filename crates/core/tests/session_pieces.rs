//! A session in a host's hands: piece by piece, without a folder, with other work in between; the numbers are those of a run.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use halo_core::config::TrainConfig;
use halo_core::generate::{Decoding, Sampling};
use halo_core::session::{Advance, Data, Evaluation, Ready, Session};
use halo_train::{StepMetrics, Which};
use runs::{Scratch, base, lines, lora, results, run, same};

#[path = "support/runs.rs"]
mod runs;

/// The run of a configuration with data from elsewhere and nothing on the disk.
fn begin(config: &TrainConfig) -> (Session, Data) {
    let embedded = TrainConfig {
        data: Vec::new(),
        output_dir: PathBuf::new(),
        ..config.clone()
    };
    let ready = Ready::load(embedded).unwrap();
    let data = ready.read(&config.data).unwrap();
    match Session::begin(ready, &data, None) {
        Ok(session) => (session, data),
        Err(failed) => panic!("{}", failed.1),
    }
}

fn evaluate(session: &mut Session, data: &Data) -> StepMetrics {
    let loss = session.loss().clone();
    let mut evaluation = Evaluation::new(session.ready_mut(), &loss, data).unwrap();
    loop {
        if let Some(metrics) = evaluation.advance(session.ready_mut()).unwrap() {
            let (done, all) = evaluation.progress();
            assert_eq!(done, all);
            return metrics;
        }
    }
}

fn accumulating(loss: &str, out: PathBuf) -> TrainConfig {
    TrainConfig {
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        max_steps: Some(4),
        ..base(loss, out)
    }
}

#[test]
fn between_any_two_pieces_of_work_the_session_is_free_for_others() {
    let scratch = Scratch::new("pieces");
    let whole = accumulating("kto", scratch.path("whole"));
    run(&whole, false, None);
    let expected = lines(&whole);

    let (mut session, data) = begin(&whole);
    let saved = scratch.path("saved");
    let (mut steps, mut pieces) = (Vec::new(), 0);
    loop {
        match session.advance().unwrap() {
            Advance::Worked => {}
            Advance::Stepped(step) => steps.push(serde_json::to_value(step.metrics).unwrap()),
            Advance::Finished => break,
        }
        pieces += 1;
        if pieces % 5 == 0 {
            evaluate(&mut session, &data);
            session
                .ready_mut()
                .scores(&data.dataset, Which::Policy)
                .unwrap();
            let decoder = &session.ready().model().decoder;
            let sampling = Sampling::default();
            let mut decoding = Decoding::new(decoder, &[vec![1, 2]], 0, &[], &sampling).unwrap();
            decoding.step().unwrap();
            session.save(&saved).unwrap();
        }
        if pieces == 12 {
            // In the midst of a step: it begins anew.
            session.load(&saved).unwrap();
            steps.truncate(session.completed_steps() as usize);
        }
    }
    assert_eq!(steps, expected);
    assert!(!fs::exists("metrics.jsonl").unwrap());
}

#[test]
fn a_damaged_checkpoint_changes_nothing() {
    let scratch = Scratch::new("damaged");
    let whole = lora(accumulating("kto", scratch.path("whole")));
    run(&whole, false, None);
    let (mut session, _) = begin(&whole);
    let folder = scratch.path("checkpoint");
    session.step().unwrap();
    session.save(&folder).unwrap();
    session.step().unwrap();
    session.advance().unwrap();
    for name in [
        "halo.json",
        "optimizer.safetensors",
        "adapter_model.safetensors",
    ] {
        let path = folder.join(name);
        let bytes = fs::read(&path).unwrap();
        for wrong in [&bytes[..bytes.len() / 2], b"", b"{}"] {
            fs::write(&path, wrong).unwrap();
            let error = session.load(&folder).unwrap_err();
            assert!(error.is_state() || error.is_model(), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(session.load(&folder).unwrap_err().is_io());
        fs::write(&path, bytes).unwrap();
    }
    let mut rest = Vec::new();
    while let Some(step) = session.step().unwrap() {
        rest.push(serde_json::to_value(step.metrics).unwrap());
    }
    assert_eq!(rest, lines(&whole)[2..]);
    session.load(&folder).unwrap();
    assert_eq!(session.completed_steps(), 1);
}

#[test]
fn an_evaluation_is_of_all_data_at_once_and_changes_nothing() {
    let scratch = Scratch::new("evaluation");
    for loss in ["kto", "dpo", "sft"] {
        let of = |batch: usize| {
            let config = TrainConfig {
                per_device_train_batch_size: batch,
                ..base(loss, scratch.path("unused"))
            };
            let (mut session, data) = begin(&config);
            let first = evaluate(&mut session, &data);
            assert_eq!(evaluate(&mut session, &data), first, "{loss}");
            first
        };
        let (small, large) = (of(3), of(64));
        // Sums over micro-batches are added in another order.
        assert!((small.loss - large.loss).abs() < 1e-6, "{loss}");
        assert!(small.loss > 0.0);
        match (small.kl, large.kl) {
            (Some(a), Some(b)) => assert!((a - b).abs() < 1e-5, "{loss}"),
            (a, b) => assert_eq!(a, b),
        }
    }
}

#[test]
fn data_that_do_not_fit_leave_the_model_ready() {
    let config = TrainConfig {
        data: Vec::new(),
        output_dir: PathBuf::new(),
        class_balance: Some(1.2),
        ..base("kto", PathBuf::new())
    };
    let ready = Ready::load(config.clone()).unwrap();
    let good = ready.read(&base("kto", PathBuf::new()).data).unwrap();
    let same = r#"{"prompt": "a", "completion": "b", "label": true}"#.to_string();
    let other = same.replace("true", "false");
    // One prompt only: no completion of another for the reference point.
    let scratch = Scratch::new("lonely");
    fs::create_dir_all(&scratch.0).unwrap();
    let file = scratch.path("lonely.jsonl");
    fs::write(&file, format!("{same}\n{other}\n")).unwrap();
    let lonely = ready.read(&[file]).unwrap();
    let Err(failed) = Session::begin(ready, &lonely, None) else {
        panic!("a run began without any mismatched completion");
    };
    let (ready, error) = *failed;
    assert!(error.is_data() || error.is_parameter(), "{error}");
    assert!(Session::begin(ready, &good, None).is_ok());
}

#[test]
fn with_a_folder_it_leaves_there_what_a_run_leaves() {
    let scratch = Scratch::new("folder");
    let whole = accumulating("kto", scratch.path("whole"));
    run(&whole, false, None);
    let config = TrainConfig {
        output_dir: scratch.path("hosted"),
        ..whole.clone()
    };
    let begin = |from: Option<&Path>| {
        let ready = Ready::load(config.clone()).unwrap();
        let data = ready.read(&config.data).unwrap();
        Session::begin(ready, &data, from).map_err(|failed| failed.1)
    };
    let mut session = begin(None).unwrap();
    while session.step().unwrap().is_some() {}
    same(&results(&config), &results(&whole), "hosted");
    assert!(begin(None).err().unwrap().is_state());
    let mut again = begin(Some(&config.output_dir.join("checkpoint-2"))).unwrap();
    assert_eq!(again.completed_steps(), 2);
    while again.step().unwrap().is_some() {}
    same(&results(&config), &results(&whole), "resumed");
}

#[test]
fn what_is_no_checkpoint_is_not_replaced() {
    let scratch = Scratch::new("not-replaced");
    let (mut session, _) = begin(&base("sft", PathBuf::new()));
    let folder = scratch.path("mine");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("letter.txt"), "dear").unwrap();
    assert!(session.save(&folder).unwrap_err().is_parameter());
    assert_eq!(
        fs::read_to_string(folder.join("letter.txt")).unwrap(),
        "dear"
    );
    let other = scratch.path("other");
    session.save(&other).unwrap();
    session.save(&other).unwrap();
}

#[test]
fn a_session_crosses_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Session>();
    crosses::<Ready>();
    crosses::<Evaluation>();
}
