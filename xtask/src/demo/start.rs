//! The demo model before training: its shape, its vocabulary of whole words, and random weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use halo_train::Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

use super::lists::{CATEGORIES, OPENINGS};
use super::{Failure, SEED};

const HIDDEN: usize = 128;
const HEADS: usize = 4;
const LAYERS: usize = 3;
const MLP: usize = 320;
/// Of the weights' normal distribution; wider than for large models, whose sums have more terms.
const SPREAD: f64 = 0.05;

/// Writes `config.json`, `tokenizer.json` and `tokenizer_config.json`.
pub(super) fn write_texts(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    for (name, value) in [
        ("config.json", config()),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", tokenizer_config()),
    ] {
        fs::write(
            folder.join(name),
            serde_json::to_string_pretty(&value)? + "\n",
        )?;
    }
    Ok(())
}

/// Writes `model.safetensors` with random weights.
pub(super) fn write_weights(folder: &Path) -> Result<(), Failure> {
    let mut shapes = vec![
        (
            "model.embed_tokens".to_owned(),
            vec![vocabulary().len(), HIDDEN],
        ),
        ("model.norm".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.v_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj", vec![MLP, HIDDEN]),
            ("mlp.up_proj", vec![MLP, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, MLP]),
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}"), shape));
        }
    }
    let mut rng = Rng::new(SEED).fork(2);
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let count: usize = shape.iter().product();
            let values = (0..count).flat_map(|_| match shape.len() {
                // Norms begin as the identity.
                1 => 1f32.to_le_bytes(),
                _ => ((SPREAD * rng.normal()) as f32).to_le_bytes(),
            });
            let bytes = values.collect();
            (format!("{name}.weight"), shape, bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<BTreeMap<_, _>, Failure>>()?;
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))?;
    Ok(())
}

/// Every token: special ones first, then the words of requests, then the things.
fn vocabulary() -> Vec<&'static str> {
    let mut words = vec![
        "<s>", "</s>", "<unk>", ",", ".", "and", "a", "an", "no", "idea",
    ];
    words.extend(OPENINGS.iter().flat_map(|opening| opening.split(' ')));
    words.extend(CATEGORIES.iter().map(|c| c.name));
    words.extend(CATEGORIES.iter().flat_map(|c| c.members));
    let mut seen = std::collections::HashSet::new();
    words.retain(|word| seen.insert(*word));
    words
}

fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary().len(),
        "hidden_size": HIDDEN,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HIDDEN / HEADS,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": true,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "bfloat16",
    })
}

/// One token a word or mark; the decoder sets spaces between words and none before marks.
fn tokenizer() -> Value {
    let words = vocabulary();
    let special = |id: usize| {
        json!({
            "id": id, "content": words[id], "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": true,
        })
    };
    let start = json!({ "SpecialToken": { "id": "<s>", "type_id": 0 } });
    let text = |id: &str, kind: u32| json!({ "Sequence": { "id": id, "type_id": kind } });
    let vocab: Map<String, Value> = words
        .iter()
        .enumerate()
        .map(|(id, word)| ((*word).to_owned(), id.into()))
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(0), special(1), special(2)],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, text("A", 0)],
            "pair": [start, text("A", 0), text("B", 1)],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<unk>" },
    })
}

fn tokenizer_config() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": 64,
        "clean_up_tokenization_spaces": false,
    })
}
