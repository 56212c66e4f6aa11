//! Gradients reach what is trained and nothing else, whatever the pack's form, and are those of the loss.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use halo_core::models::{Decoder, Loaded, LoraConfig, Training, load};
use halo_train::{Gradient, Pack, Rng, Sequence};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures")
}

fn model(name: &str, training: &Training) -> Loaded {
    load(&fixtures().join("models").join(name), training, 7).unwrap()
}

/// An adapter whose B is not zero: otherwise A's gradient would be.
fn adapter() -> Loaded {
    let folder = fixtures().join("trl/kto-lora-snapshot/adapter");
    let training = Training::Lora(LoraConfig::all_linear(4, 8.0));
    load(&folder, &training, 0).unwrap()
}

/// Grouped heads, one key/value head and tied, windows, biases, norms on q and k, a window in one layer only.
const MODELS: [&str; 6] = [
    "llama",
    "llama-tied",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen2-window",
];

/// One sequence of a step, with its share of the loss's gradient.
struct Row {
    prompt: Vec<u32>,
    completion: Vec<u32>,
    dlogp: Option<f64>,
}

/// Siblings, a mismatched y′ without gradient, one-token prompts and completions, prompts that share a beginning, and
/// sequences several times longer than the fixtures' windows.
fn rows() -> Vec<Row> {
    rows_of(11)
}

fn rows_of(seed: u64) -> Vec<Row> {
    let mut rng = Rng::new(seed);
    let mut ids = |n: usize| -> Vec<u32> { (0..n).map(|_| 3 + rng.below(93) as u32).collect() };
    let (shared, single, stem) = (ids(9), ids(1), ids(17));
    let fork = |tail: Vec<u32>| [stem.as_slice(), &tail].concat();
    let forks = [fork(ids(2)), fork(ids(5))];
    let mut row = |prompt: &[u32], completion: usize, dlogp: Option<f64>| Row {
        prompt: prompt.to_vec(),
        completion: ids(completion),
        dlogp,
    };
    vec![
        row(&shared, 7, Some(0.5)),
        row(&shared, 12, None),
        row(&shared, 1, Some(-0.8)),
        row(&single, 1, Some(0.3)),
        row(&single, 6, Some(-0.25)),
        row(&single, 3, None),
        row(&forks[0], 4, Some(0.7)),
        row(&forks[1], 5, Some(-0.4)),
        row(&forks[1], 2, None),
    ]
}

fn pack(rows: &[Row], share: bool) -> (Pack, Vec<f64>) {
    let sequences: Vec<_> = rows
        .iter()
        .map(|row| Sequence {
            prompt: &row.prompt,
            completion: &row.completion,
            grad: row.dlogp.is_some(),
        })
        .collect();
    let dlogps = rows.iter().map(|row| row.dlogp.unwrap_or(0.0)).collect();
    (Pack::build(&sequences, share), dlogps)
}

/// Log-probabilities of the rows; their gradients are added to the bank.
fn run(model: &Loaded, rows: &[Row], share: bool) -> Vec<f64> {
    let (pack, dlogps) = pack(rows, share);
    let (logps, tape) = model.decoder.forward(&pack, true).unwrap();
    if let Some(tape) = tape {
        model
            .decoder
            .backward(
                tape,
                &pack.spread(&Gradient::Sequences(dlogps.clone())),
                &model.bank,
            )
            .unwrap();
    }
    pack.sum_logps(&logps)
}

fn gradients(model: &Loaded) -> Vec<f32> {
    let gradients = model.bank.gradients().unwrap();
    model.bank.clear().unwrap();
    gradients
}

/// Largest difference, relative to the largest entry.
fn relative<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1e-30, |max: f64, &x| max.max(x.into().abs()));
    let worst = a.iter().zip(b).fold(0.0, |max: f64, (&a, &b)| {
        max.max((a.into() - b.into()).abs())
    });
    assert!(worst.is_finite());
    worst / scale
}

fn trained() -> impl Iterator<Item = (String, Loaded)> {
    let full = MODELS.map(|name| (name.to_string(), model(name, &Training::Full)));
    full.into_iter().chain([("adapter".to_string(), adapter())])
}

#[test]
fn packed_with_shared_prefixes_equals_each_sequence_alone() {
    let rows = rows();
    let (shared, separate) = (pack(&rows, true).0, pack(&rows, false).0);
    assert!(shared.rows() < separate.rows() && shared.grad_rows < separate.grad_rows);
    let (mut values, mut grads) = (0f64, 0f64);
    for (name, model) in trained() {
        let alone: Vec<f64> = rows
            .chunks(1)
            .map(|row| run(&model, row, false)[0])
            .collect();
        let alone_grads = gradients(&model);
        for share in [true, false] {
            let logps = run(&model, &rows, share);
            let packed_grads = gradients(&model);
            for (ours, theirs) in logps.iter().zip(&alone) {
                let error = (ours - theirs).abs() / theirs.abs();
                values = values.max(error);
                assert!(error < 1e-6, "{name}, share {share}: {ours} {theirs}");
            }
            for entry in model.bank.entries() {
                let range = entry.range.clone();
                let error = relative(&packed_grads[range.clone()], &alone_grads[range]);
                grads = grads.max(error);
                assert!(
                    error < 1e-5,
                    "{name}, share {share}, {}: {error:e}",
                    entry.name
                );
            }
        }
    }
    println!("packed against alone: values within {values:.1e}, gradients within {grads:.1e}");
}

#[test]
fn rows_without_gradient_change_no_gradient() {
    let all = rows();
    let graded: Vec<Row> = rows()
        .into_iter()
        .filter(|row| row.dlogp.is_some())
        .collect();
    for (name, model) in trained() {
        run(&model, &all, true);
        let with = gradients(&model);
        run(&model, &graded, true);
        let without = gradients(&model);
        assert!(with.iter().any(|g| *g != 0.0));
        // The same rows in the same places: only how a product sums may change with its size.
        let error = relative(&with, &without);
        assert!(error < 1e-5, "{name}: {error:e}");
    }
}

#[test]
fn a_pack_without_gradient_leaves_no_tape() {
    let rows: Vec<Row> = rows()
        .into_iter()
        .filter(|row| row.dlogp.is_none())
        .collect();
    let model = model("llama", &Training::Full);
    let (pack, _) = pack(&rows, true);
    assert!(model.decoder.forward(&pack, true).unwrap().1.is_none());
}

#[test]
fn recomputed_activations_give_the_same_bits_as_kept_ones() {
    // Forward sees all rows, its repetition those with gradient. The gemm crate sums products of up to 256 entries in another
    // order: as in real runs, both have more, at rank 4 too.
    let rows: Vec<Row> = rows_of(11).into_iter().chain(rows_of(12)).collect();
    assert!(pack(&rows, true).0.grad_rows > 256 / 4);
    for (name, mut model) in trained() {
        let logps = run(&model, &rows, true);
        let kept = gradients(&model);
        model.decoder.recompute = true;
        assert_eq!(run(&model, &rows, true), logps, "{name}");
        let again = gradients(&model);
        assert!(again == kept, "{name}: {:e}", relative(&again, &kept));
    }
}

/// Σ dlogp · logp, the loss whose gradient `run` adds.
fn loss(model: &Loaded, rows: &[Row]) -> f64 {
    let (pack, dlogps) = pack(rows, true);
    let (logps, _) = model.decoder.forward(&pack, false).unwrap();
    let sums = pack.sum_logps(&logps);
    sums.iter().zip(&dlogps).map(|(logp, d)| logp * d).sum()
}

/// Puts a value in one parameter's place; gives the old one.
fn replace(model: &Loaded, at: usize, value: f32) -> f32 {
    let mut old = 0.0;
    let work = |params: &mut [f32]| {
        old = std::mem::replace(&mut params[at], value);
        Ok(())
    };
    model.bank.edit_params(work).unwrap();
    old
}

/// Fourth-order central difference along one parameter.
fn difference(model: &Loaded, rows: &[Row], at: usize) -> f64 {
    const STEP: f32 = 0.02;
    let start = replace(model, at, 0.0);
    let [a, b, c, d] = [-2.0, -1.0, 1.0, 2.0].map(|steps| {
        replace(model, at, start + steps * STEP);
        loss(model, rows)
    });
    replace(model, at, start);
    (a - 8.0 * b + 8.0 * c - d) / (12.0 * f64::from(STEP))
}

#[test]
fn every_tensors_gradient_is_that_of_finite_differences_of_the_whole_decoder() {
    let rows = rows();
    let mut rng = Rng::new(5);
    let mut worst = 0f64;
    let mut checked = 0;
    for (name, model) in trained() {
        run(&model, &rows, true);
        let grads = gradients(&model);
        for entry in model.bank.entries() {
            let grad = &grads[entry.range.clone()];
            let steepest = (0..grad.len())
                .max_by(|&a, &b| grad[a].abs().total_cmp(&grad[b].abs()))
                .unwrap();
            let scale = f64::from(grad[steepest].abs());
            for at in [steepest, rng.below(grad.len() as u64) as usize] {
                let numeric = difference(&model, &rows, entry.range.start + at);
                let error = (numeric - f64::from(grad[at])).abs() / scale;
                worst = worst.max(error);
                // f32 forwards: 1e-5 of noise over a step of 0.02, and the fifth derivative.
                assert!(
                    error < 1e-2,
                    "{name}: {}[{at}]: {} and {numeric}",
                    entry.name,
                    grad[at]
                );
                checked += 1;
            }
        }
    }
    println!(
        "finite differences: {checked} parameters within {worst:.1e} of their tensor's steepest"
    );
}

#[test]
fn every_trained_parameter_of_every_family_is_reached() {
    let rows = rows();
    let all = std::fs::read_dir(fixtures().join("models")).unwrap();
    for folder in all.map(|entry| entry.unwrap().path()) {
        let lora = Training::Lora(LoraConfig::all_linear(2, 4.0));
        for training in [Training::Full, lora] {
            let model = load(&folder, &training, 3).unwrap();
            assert!(!model.bank.is_empty());
            let untouched = model.bank.check_touched().unwrap_err();
            assert!(untouched.to_string().starts_with("no gradient reached"));
            run(&model, &rows, true);
            model.bank.check_touched().unwrap();
            // Reached, and with something: a fresh adapter's A waits for its B, which starts at zero.
            let grads = model.bank.gradients().unwrap();
            for entry in model.bank.entries() {
                let zero = grads[entry.range.clone()].iter().all(|g| *g == 0.0);
                let waits = entry.name.ends_with("lora_A.weight");
                assert_eq!(zero, waits, "{}: {}", folder.display(), entry.name);
            }
        }
    }
}

/// Where every parameter's values stand in memory, and a copy of them.
fn parameters(decoder: &Decoder) -> BTreeMap<String, (*const f32, Vec<f32>)> {
    let mut all = BTreeMap::new();
    decoder
        .visit(&mut |name, values| {
            all.insert(name.to_string(), (values.as_ptr(), values.to_vec()));
        })
        .unwrap();
    all
}

#[test]
fn an_adapters_base_gets_no_gradient_and_is_shared_with_the_reference() {
    let model = adapter();
    let names: Vec<_> = model.bank.entries().iter().map(|e| &e.name).collect();
    assert!(names.iter().all(|name| name.contains(".lora_")));
    let reference = model.decoder.frozen().unwrap();
    let (policy, frozen) = (parameters(&model.decoder), parameters(&reference));
    assert_eq!(
        policy.keys().collect::<Vec<_>>(),
        frozen.keys().collect::<Vec<_>>()
    );
    for (name, (at, values)) in &policy {
        let (frozen_at, frozen_values) = &frozen[name];
        assert_eq!(values, frozen_values, "{name}");
        let trained = names.contains(&name);
        assert_eq!(
            at != frozen_at,
            trained,
            "{name}: one copy unless it is trained"
        );
    }

    // A step moves the policy's adapters, and neither the base nor the reference.
    run(&model, &rows(), true);
    let grads = model.bank.gradients().unwrap();
    let step = |params: &mut [f32]| {
        params
            .iter_mut()
            .zip(&grads)
            .for_each(|(p, g)| *p -= 0.1 * g);
        Ok(())
    };
    model.bank.edit_params(step).unwrap();
    let (moved, still) = (parameters(&model.decoder), parameters(&reference));
    for (name, (_, values)) in &policy {
        assert_eq!(&moved[name].1 != values, names.contains(&name), "{name}");
        assert_eq!(&still[name].1, values, "{name}");
    }
}

#[test]
fn a_full_reference_is_a_copy_that_training_leaves_alone() {
    let model = model("qwen2", &Training::Full);
    let reference = model.decoder.frozen().unwrap();
    let before = parameters(&reference);
    run(&model, &rows(), true);
    let grads = model.bank.gradients().unwrap();
    let step = |params: &mut [f32]| {
        params
            .iter_mut()
            .zip(&grads)
            .for_each(|(p, g)| *p -= 0.1 * g);
        Ok(())
    };
    model.bank.edit_params(step).unwrap();
    assert_eq!(parameters(&reference), before);
    assert_ne!(parameters(&model.decoder), before);
}

#[test]
fn only_the_chosen_layers_and_modules_get_adapters() {
    let lora = LoraConfig {
        target_modules: vec!["down_proj".into(), "q_proj".into()],
        layers: Some(vec![1]),
        ..LoraConfig::all_linear(3, 6.0)
    };
    let model = model("qwen3", &Training::Lora(lora));
    let names: Vec<_> = model
        .bank
        .entries()
        .iter()
        .map(|e| e.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight",
            "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight",
            "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
            "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight",
        ]
    );
    run(&model, &rows(), true);
    model.bank.check_touched().unwrap();
}

#[test]
fn an_unknown_module_or_layer_is_refused_with_what_is_there() {
    let refused = |change: &dyn Fn(&mut LoraConfig)| {
        let mut lora = LoraConfig::all_linear(2, 4.0);
        change(&mut lora);
        let folder = fixtures().join("models/llama");
        let error = load(&folder, &Training::Lora(lora), 0).unwrap_err();
        assert!(error.is_parameter());
        error.to_string()
    };
    assert_eq!(
        refused(&|lora| lora.target_modules = vec!["query".into()]),
        "unknown lora target module \"query\"; known: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
    );
    assert_eq!(
        refused(&|lora| lora.layers = Some(vec![0, 2])),
        "lora layer 2 does not exist; allowed: 0 to 1"
    );
    assert_eq!(
        refused(&|lora| lora.rank = 0),
        "lora rank = 0; allowed: 1 or more"
    );
}
