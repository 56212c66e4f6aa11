//! What the one decoder can be: the flags and sizes that a family's `config.json` is mapped to.

use serde_json::Value;

use crate::{Error, Result};

/// A decoder-only transformer with pre-normalisation, rotary positions and a gated MLP.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Vocabulary (V).
    pub vocab_size: usize,
    /// Width of the residual stream (D).
    pub hidden_size: usize,
    /// Width of the MLP (F).
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads (H).
    pub num_attention_heads: usize,
    /// Key/value heads (K); divides H.
    pub num_key_value_heads: usize,
    /// Head dimension (E).
    pub head_dim: usize,
    /// Epsilon of every RMS norm.
    pub rms_norm_eps: f32,
    /// Longest position that the model was made for.
    pub max_position_embeddings: usize,
    /// Rotary frequencies, one per pair of dimensions (E/2), scaling applied.
    pub inv_freq: Vec<f32>,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Whether the head gives one score instead of log-probabilities: a reward model.
    pub score_head: bool,
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// Bias on the attention's output projection.
    pub output_bias: bool,
    /// Biases in the MLP.
    pub mlp_bias: bool,
    /// RMS norms on each query and key head (qwen3).
    pub qk_norm: bool,
    /// Per block: attend to the last so many positions only.
    pub sliding_window: Vec<Option<usize>>,
}

/// The linear layers of a block, as Hugging Face names them; [`Block::linears`](super::block::Block::linears) has their order.
pub(crate) const LINEARS: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// The reward head's weight, as Hugging Face's models for sequence classification name it.
pub(crate) const SCORE: &str = "score.weight";

/// A parameter's name, shape and whether weight decay applies.
pub(crate) type ParameterSpec = (String, Vec<usize>, bool);

impl DecoderConfig {
    /// Every parameter of the model under its Hugging Face name.
    pub(crate) fn parameters(&self) -> Vec<ParameterSpec> {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        let q = self.num_attention_heads * self.head_dim;
        let kv = self.num_key_value_heads * self.head_dim;
        let mut all = vec![
            (
                "model.embed_tokens.weight".into(),
                vec![self.vocab_size, d],
                true,
            ),
            ("model.norm.weight".into(), vec![d], false),
        ];
        if self.score_head {
            all.push((SCORE.into(), vec![1, d], true));
        } else if !self.tie_word_embeddings {
            all.push(("lm_head.weight".into(), vec![self.vocab_size, d], true));
        }
        for layer in 0..self.num_hidden_layers {
            let mut add = |name: &str, shape: Vec<usize>| {
                let decay = shape.len() > 1;
                all.push((format!("model.layers.{layer}.{name}"), shape, decay));
            };
            let shapes = [
                (q, d, self.qkv_bias),
                (kv, d, self.qkv_bias),
                (kv, d, self.qkv_bias),
                (d, q, self.output_bias),
                (f, d, self.mlp_bias),
                (f, d, self.mlp_bias),
                (d, f, self.mlp_bias),
            ];
            for (name, (rows, columns, bias)) in LINEARS.into_iter().zip(shapes) {
                add(&format!("{name}.weight"), vec![rows, columns]);
                if bias {
                    add(&format!("{name}.bias"), vec![rows]);
                }
            }
            add("input_layernorm.weight", vec![d]);
            add("post_attention_layernorm.weight", vec![d]);
            if self.qk_norm {
                add("self_attn.q_norm.weight", vec![self.head_dim]);
                add("self_attn.k_norm.weight", vec![self.head_dim]);
            }
        }
        all
    }
}

/// Far beyond any model: widths, vocabularies, positions; and layers, each of which costs a dozen names.
const MAX_SIZE: usize = 1 << 24;
const MAX_LAYERS: usize = 1 << 14;

/// A family's `config.json`, with errors that name the key.
pub(crate) struct Keys<'a> {
    json: &'a Value,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(json: &'a Value) -> Keys<'a> {
        Keys { json }
    }

    /// A key that may be absent or null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn size(&self, key: &str) -> Result<usize> {
        self.size_or(key, None)
    }

    /// A positive integer, or the default where the key is absent.
    ///
    /// Sizes are bounded before anything is allocated for them.
    pub(crate) fn size_or(&self, key: &str, default: Option<usize>) -> Result<usize> {
        self.bounded(key, default, MAX_SIZE)
    }

    fn bounded(&self, key: &str, default: Option<usize>, most: usize) -> Result<usize> {
        let Some(value) = self.get(key) else {
            return default.ok_or_else(|| Error::model(format!("config.json: {key} is missing")));
        };
        match value.as_u64().map(|size| size as usize) {
            Some(size) if (1..=most).contains(&size) => Ok(size),
            _ => Err(Error::model(format!(
                "config.json: {key} = {value}; allowed: 1 to {most}"
            ))),
        }
    }

    pub(crate) fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().filter(|x| *x > 0.0).ok_or_else(|| {
                Error::model(format!(
                    "config.json: {key} = {value}; allowed: a positive number"
                ))
            }),
        }
    }

    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| {
                Error::model(format!(
                    "config.json: {key} = {value}; allowed: true, false"
                ))
            }),
        }
    }

    /// What every family shares; a family then sets its own flags.
    ///
    /// # Errors
    /// A missing or senseless key, an activation other than SiLU, or heads that do not divide.
    pub(crate) fn decoder(&self) -> Result<DecoderConfig> {
        if let Some(act) = self.get("hidden_act")
            && act != "silu"
        {
            return Err(Error::model(format!(
                "config.json: hidden_act = {act}; known: \"silu\""
            )));
        }
        let hidden_size = self.size("hidden_size")?;
        let heads = self.size("num_attention_heads")?;
        let kv_heads = self.size_or("num_key_value_heads", Some(heads))?;
        if heads % kv_heads != 0 {
            return Err(Error::model(format!(
                "config.json: num_key_value_heads = {kv_heads} does not divide num_attention_heads = {heads}"
            )));
        }
        let head_dim = self.size_or("head_dim", Some(hidden_size / heads))?;
        if head_dim % 2 != 0 {
            return Err(Error::model(format!(
                "config.json: head_dim = {head_dim}; allowed: an even number"
            )));
        }
        let layers = self.bounded("num_hidden_layers", None, MAX_LAYERS)?;
        let max_position_embeddings = self.size_or("max_position_embeddings", Some(2048))?;
        Ok(DecoderConfig {
            score_head: false,
            vocab_size: self.size("vocab_size")?,
            hidden_size,
            intermediate_size: self.size("intermediate_size")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            rms_norm_eps: self.number_or("rms_norm_eps", 1e-6)? as f32,
            max_position_embeddings,
            // transformers keeps them in f32 too: large positions would show the difference.
            inv_freq: super::rope::frequencies(self, head_dim)?
                .iter()
                .map(|f| *f as f32)
                .collect(),
            tie_word_embeddings: self.flag_or("tie_word_embeddings", false)?,
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            qk_norm: false,
            sliding_window: vec![None; layers],
        })
    }

    /// The per-block windows of the qwen families: `layer_types`, or `max_window_layers`, where `use_sliding_window` is set.
    pub(crate) fn qwen_windows(&self, layers: usize) -> Result<Vec<Option<usize>>> {
        if !self.flag_or("use_sliding_window", false)? {
            return Ok(vec![None; layers]);
        }
        let window = self.size("sliding_window")?;
        let from = match self.get("max_window_layers") {
            Some(value) => value.as_u64().unwrap_or(0) as usize,
            None => 28,
        };
        let types = self.get("layer_types").and_then(Value::as_array);
        Ok((0..layers)
            .map(|layer| {
                let sliding = match types {
                    Some(types) => types.get(layer).is_some_and(|t| t == "sliding_attention"),
                    None => layer >= from,
                };
                sliding.then_some(window)
            })
            .collect())
    }
}
