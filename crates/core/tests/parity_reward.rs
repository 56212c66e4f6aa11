//! Against transformers' sequence classification with one label: scores, the Bradley-Terry loss, and every parameter's gradient; and
//! reward models as files.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and the errors reached are worth reading"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use halo_core::config::TrainConfig;
use halo_core::data::{self, DataOptions};
use halo_core::device::Placement;
use halo_core::models::{LoraConfig, Readout, Training, load_for};
use halo_core::session::Session;
use halo_core::weights::Weights;
use halo_loss::{DataShape, Label, Loss, Normalizer, Params, Row, evaluate};
use halo_train::{Answer, Ask, Dataset, Gradient, Job, SequenceRef};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures/reward")
}

fn pairs() -> Arc<Dataset> {
    let options = DataOptions::new(DataShape::Paired);
    let loaded = data::load(&[folder().join("pairs.jsonl")], None, &options).unwrap();
    Arc::new(loaded.dataset)
}

fn job(data: &Dataset) -> Job {
    let own = |row| SequenceRef {
        prompt: row,
        completion: row,
        grad: true,
    };
    Job::for_scores(data, (0..data.records.len()).map(own).collect())
}

fn loss() -> Loss {
    let mut params = Params::new();
    params.set("margin", 0.25).set("centering", 0.01);
    Loss::new("bradley_terry", &params).unwrap()
}

fn rows(scores: &[f64]) -> Vec<Row> {
    let row = |(index, &logp): (usize, &f64)| Row {
        logp,
        label: [Label::Desirable, Label::Undesirable][index % 2],
        ..Row::default()
    };
    scores.iter().enumerate().map(row).collect()
}

#[test]
fn scores_loss_and_gradients_are_those_of_transformers() {
    let expected = Weights::from_files([folder().join("expected.safetensors")]).unwrap();
    let data = pairs();
    let model = load_for(
        &folder(),
        &Training::Full,
        Readout::Scores,
        0,
        &Placement::default(),
    )
    .unwrap();
    let job = job(&data);
    let (answer, tape) = model.decoder.answer(&job.pack, Ask::Scores, true).unwrap();
    let Answer::Logps(scores) = answer else {
        panic!("scores are one a sequence")
    };
    let theirs = expected.read("scores", &[6]).unwrap();
    let mut worst = 0f64;
    for (ours, theirs) in scores.iter().zip(&theirs) {
        worst = worst.max((ours - f64::from(*theirs)).abs());
    }
    assert!(worst < 1e-5, "scores differ by {worst}");

    let rows = rows(&scores);
    let loss = loss();
    let result = evaluate(&loss, &rows, &Normalizer::of(&loss, &rows)).unwrap();
    let theirs = f64::from(expected.read("loss", &[1]).unwrap()[0]);
    assert!(
        (result.loss - theirs).abs() < 1e-5,
        "{} {theirs}",
        result.loss
    );

    let dscores = job.pack.spread(&Gradient::Sequences(result.dlogps));
    model
        .decoder
        .backward(tape.unwrap(), &dscores, &model.bank)
        .unwrap();
    model.bank.check_touched().unwrap();
    let gradients = model.bank.gradients().unwrap();
    let mut relative = 0f32;
    for entry in model.bank.entries() {
        let theirs = expected
            .read(&format!("grad.{}", entry.name), &entry.shape)
            .unwrap();
        let scale = theirs.iter().fold(0f32, |max, x| max.max(x.abs()));
        for (a, b) in gradients[entry.range.clone()].iter().zip(&theirs) {
            relative = relative.max((a - b).abs() / scale);
        }
    }
    println!("scores within {worst:.1e}, gradients within {relative:.1e} of the largest entry");
    assert!(relative < 1e-4, "{relative:e}");
}

/// A run over the fixture's pairs; the folder it left.
fn run(name: &str, lora: bool) -> PathBuf {
    let out = std::env::temp_dir().join(format!("halo-reward-{}-{name}", std::process::id()));
    let config = TrainConfig {
        // a language model gets a fresh head
        model: folder().join("../models/qwen2"),
        data: vec![folder().join("pairs.jsonl")],
        loss: "bradley_terry".into(),
        lora_r: lora.then_some(4),
        max_steps: Some(30),
        learning_rate: 1e-2,
        per_device_train_batch_size: 3,
        output_dir: out.clone(),
        save_steps: 10,
        ..TrainConfig::default()
    };
    let mut session = Session::open(config, false).unwrap();
    let (mut first, mut last) = (None, None);
    while let Some(step) = session.step().unwrap() {
        first.get_or_insert(step.metrics.loss);
        last = Some(step.metrics.loss);
    }
    let (first, last) = (first.unwrap(), last.unwrap());
    assert!(
        (first - 2f64.ln()).abs() < 0.1,
        "a fresh head is near 0: {first}"
    );
    assert!(last < 0.3, "the pairs are learnt: {last}");
    out
}

#[test]
fn a_reward_model_learns_is_saved_and_comes_back() {
    for lora in [false, true] {
        let out = run(if lora { "lora" } else { "full" }, lora);
        let data = pairs();
        let score = |training: &Training| {
            let model =
                load_for(&out, training, Readout::AsStored, 0, &Placement::default()).unwrap();
            match model
                .decoder
                .answer(&job(&data).pack, Ask::Scores, false)
                .unwrap()
                .0
            {
                Answer::Logps(scores) => scores,
                other => panic!("{other:?}"),
            }
        };
        let scores = score(&Training::Frozen);
        let (pairs, _) = scores.as_chunks::<2>();
        assert!(
            pairs.iter().all(|[chosen, rejected]| chosen > rejected),
            "{scores:?}"
        );
        let again = match lora {
            true => Training::Lora(LoraConfig::all_linear(4, 8.0)),
            false => Training::Full,
        };
        assert_eq!(scores, score(&again), "trained on from the same place");
        let refused = load_for(
            &out,
            &Training::Frozen,
            Readout::Logps,
            0,
            &Placement::default(),
        )
        .err()
        .unwrap();
        assert!(refused.to_string().contains("reward model"), "{refused}");
        if !lora {
            let weights = Weights::from_files([out.join("model.safetensors")]).unwrap();
            assert_eq!(weights.shape("score.weight").unwrap().to_vec(), [1, 32]);
            assert!(weights.shape("lm_head.weight").is_none());
        }
        std::fs::remove_dir_all(&out).unwrap();
    }
}
