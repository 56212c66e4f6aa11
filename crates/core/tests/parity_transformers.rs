//! Against `transformers`: logits, log-probabilities, gradients of every parameter and greedy decoding, for every family.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use halo_core::generate::{Sampling, generate};
use halo_core::models::{Loaded, Training, load};
use halo_train::{Gradient, Pack, Sequence};
use safetensors::SafeTensors;

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fixtures/models");
    let mut folders: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert!(folders.len() >= 12);
    folders
}

/// What `transformers` said about one checkpoint.
struct Expected {
    floats: BTreeMap<String, Vec<f32>>,
    ints: BTreeMap<String, Vec<i64>>,
}

impl Expected {
    fn read(folder: &Path) -> Expected {
        let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (mut floats, mut ints) = (BTreeMap::new(), BTreeMap::new());
        for (name, view) in file.tensors() {
            let data = view.data();
            if view.dtype() == safetensors::Dtype::F32 {
                let values = data
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|b| f32::from_le_bytes(*b))
                    .collect();
                floats.insert(name, values);
            } else {
                let values = data
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|b| i64::from_le_bytes(*b))
                    .collect();
                ints.insert(name, values);
            }
        }
        Expected { floats, ints }
    }

    fn sequences(&self) -> Vec<(Vec<u32>, usize)> {
        let prompts = &self.ints["prompt_lengths"];
        (0..prompts.len())
            .map(|i| {
                let ids = self.ints[&format!("input_ids.{i}")]
                    .iter()
                    .map(|id| *id as u32)
                    .collect();
                (ids, prompts[i] as usize)
            })
            .collect()
    }
}

/// Largest difference, relative to the largest entry.
fn relative(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let scale = theirs.iter().fold(1e-12f32, |max, x| max.max(x.abs()));
    let worst = ours.iter().zip(theirs).fold(0f32, |max, (a, b)| {
        assert!(a.is_finite());
        max.max((a - b).abs())
    });
    worst / scale
}

fn pack(sequences: &[(Vec<u32>, usize)], share: bool) -> Pack {
    let sequences: Vec<_> = sequences
        .iter()
        .map(|(ids, prompt)| Sequence {
            prompt: &ids[..*prompt],
            completion: &ids[*prompt..],
            grad: true,
        })
        .collect();
    Pack::build(&sequences, share)
}

#[test]
fn logits_equal_those_of_transformers() {
    for folder in folders() {
        let expected = Expected::read(&folder);
        let model = load(&folder, &Training::Frozen, 0).unwrap();
        for (i, (ids, _)) in expected.sequences().iter().enumerate() {
            let error = relative(
                &model.decoder.logits(ids).unwrap(),
                &expected.floats[&format!("logits.{i}")],
            );
            assert!(
                error < 1e-4,
                "{}: sequence {i}: {error:e}",
                folder.display()
            );
        }
    }
}

#[test]
fn completion_log_probabilities_equal_those_of_transformers_in_a_shared_pack() {
    let mut worst = 0f32;
    for folder in folders() {
        let expected = Expected::read(&folder);
        let sequences = expected.sequences();
        let model = load(&folder, &Training::Frozen, 0).unwrap();
        let pack = pack(&sequences, true);
        let (logps, _) = model.decoder.forward(&pack, false).unwrap();
        let mut seen = vec![Vec::new(); sequences.len()];
        // Within a sequence, entries stand in order of rows, so of tokens; only the prompt's last row comes from another segment.
        for (score, logp) in pack.scores.iter().zip(&logps) {
            seen[score.seq as usize].push((pack.positions[score.row as usize], *logp));
        }
        for (i, (ids, prompt)) in sequences.iter().enumerate() {
            seen[i].sort_by_key(|(position, _)| *position);
            let ours: Vec<f32> = seen[i].iter().map(|(_, logp)| *logp).collect();
            let theirs = &expected.floats[&format!("logps.{i}")][prompt - 1..ids.len() - 1];
            let error = relative(&ours, theirs);
            worst = worst.max(error);
            assert!(
                error < 1e-5,
                "{}: sequence {i}: {error:e}",
                folder.display()
            );
        }
    }
    println!("log-probabilities: largest relative difference {worst:e}");
}

#[test]
fn the_gradient_of_every_parameter_equals_that_of_transformers() {
    let (mut worst, mut checked) = (0f32, 0);
    for folder in folders() {
        let expected = Expected::read(&folder);
        if !expected.floats.keys().any(|name| name.starts_with("grad.")) {
            continue;
        }
        for recompute in [false, true] {
            let mut model = load(&folder, &Training::Full, 0).unwrap();
            model.decoder.recompute = recompute;
            backward(&model, &expected);
            let grads = model.bank.gradients().unwrap();
            for entry in model.bank.entries() {
                let theirs = &expected.floats[&format!("grad.{}", entry.name)];
                let error = relative(&grads[entry.range.clone()], theirs);
                worst = worst.max(error);
                assert!(
                    error < 1e-4,
                    "{}: {}: {error:e}",
                    folder.display(),
                    entry.name
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 200);
    println!("gradients: {checked} parameters, largest relative difference {worst:e}");
}

fn backward(model: &Loaded, expected: &Expected) {
    let pack = pack(&expected.sequences(), true);
    let (_, tape) = model.decoder.forward(&pack, true).unwrap();
    let dlogps: Vec<f64> = expected.floats["coefficients"]
        .iter()
        .map(|c| f64::from(*c))
        .collect();
    model
        .decoder
        .backward(
            tape.unwrap(),
            &pack.spread(&Gradient::Sequences(dlogps.clone())),
            &model.bank,
        )
        .unwrap();
}

#[test]
fn greedy_decoding_with_a_cache_equals_that_of_transformers() {
    for folder in folders() {
        let expected = Expected::read(&folder);
        let (ids, prompt) = &expected.sequences()[0];
        let theirs: Vec<u32> = expected.ints["greedy"]
            .iter()
            .map(|id| *id as u32)
            .collect();
        let model = load(&folder, &Training::Frozen, 0).unwrap();
        let sampling = Sampling {
            temperature: 0.0,
            max_new_tokens: theirs.len(),
            ..Sampling::default()
        };
        let ours = generate(
            &model.decoder,
            &[ids[..*prompt].to_vec()],
            &[],
            &sampling,
            |_| (),
        )
        .unwrap();
        assert_eq!(ours[0].tokens, theirs, "{}", folder.display());
    }
}

#[test]
fn decoding_gives_the_log_probabilities_of_the_training_forward() {
    for folder in folders() {
        let expected = Expected::read(&folder);
        let model = load(&folder, &Training::Frozen, 0).unwrap();
        let prompts: Vec<Vec<u32>> = expected
            .sequences()
            .into_iter()
            .map(|(ids, prompt)| ids[..prompt].to_vec())
            .collect();
        let sampling = Sampling {
            max_new_tokens: 10,
            seed: 3,
            ..Sampling::default()
        };
        let completions = generate(&model.decoder, &prompts, &[2], &sampling, |_| ()).unwrap();
        let sequences: Vec<_> = prompts
            .iter()
            .zip(&completions)
            .map(|(prompt, completion)| {
                (
                    [prompt.as_slice(), &completion.tokens].concat(),
                    prompt.len(),
                )
            })
            .collect();
        let pack = pack(&sequences, true);
        let (logps, _) = model.decoder.forward(&pack, false).unwrap();
        for (sum, completion) in pack.sum_logps(&logps).iter().zip(&completions) {
            let decoded: f64 = completion.logps.iter().sum();
            assert!(
                (sum - decoded).abs() < 1e-4 * decoded.abs().max(1.0),
                "{}: {sum} {decoded}",
                folder.display()
            );
        }
    }
}
