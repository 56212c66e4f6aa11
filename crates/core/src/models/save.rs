//! Writing a model: Hugging Face safetensors, or a PEFT adapter.

use std::collections::BTreeMap;
use std::path::Path;

use half::bf16;
use serde_json::{Map, Value, json};

use super::adapter::{LoraConfig, PEFT_SCORE, peft_names};
use super::config::{LINEARS, SCORE};
use super::decoder::Decoder;
use super::linear::Linear;
use super::load::Loaded;
use super::peft;
use crate::array::Array;
use crate::device::{Device, Dtype};
use crate::{Error, Result, atomic, run_folder, weights};

/// The dtype of saved weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveDtype {
    /// 32-bit, exact.
    #[default]
    F32,
    /// 16-bit brain floats, rounded to nearest.
    Bf16,
}

/// Writes `config.json` and `model.safetensors` of the whole model, adapters merged into their weights.
///
/// # Errors
/// What the operating system says, with the path.
pub fn save_model(
    decoder: &Decoder,
    config_json: &Value,
    folder: &Path,
    dtype: SaveDtype,
) -> Result<()> {
    let mut config = config_json.clone();
    let name = match dtype {
        SaveDtype::F32 => "float32",
        SaveDtype::Bf16 => "bfloat16",
    };
    // transformers 5 writes `dtype`, earlier ones `torch_dtype`.
    let key = if config.get("torch_dtype").is_some() {
        "torch_dtype"
    } else {
        "dtype"
    };
    config[key] = name.into();
    if decoder.config.score_head {
        as_reward_model(&mut config);
    }
    write_json(&folder.join("config.json"), &config)?;
    write_tensors(&folder.join(weights::SINGLE), merged(decoder)?, dtype)
}

/// What transformers wants of a model for sequence classification with one label.
fn as_reward_model(config: &mut Value) {
    if let Some(Value::String(name)) = config.pointer_mut("/architectures/0") {
        *name = name.replace(CAUSAL, CLASSIFIER);
    }
    config["id2label"] = json!({ "0": "LABEL_0" });
    config["label2id"] = json!({ "LABEL_0": 0 });
    if config.get("pad_token_id").is_none_or(Value::is_null) {
        let eos = config.get("eos_token_id").cloned().unwrap_or_default();
        config["pad_token_id"] = eos.get(0).cloned().unwrap_or(eos);
    }
}

/// Endings of architectures' names.
const CAUSAL: &str = "ForCausalLM";
pub(super) const CLASSIFIER: &str = "ForSequenceClassification";

/// Writes `adapter_config.json` and `adapter_model.safetensors`.
///
/// # Errors
/// A model without adapters, or what the operating system says.
pub fn save_adapter(
    decoder: &Decoder,
    lora: &LoraConfig,
    base: &Path,
    folder: &Path,
) -> Result<()> {
    let tensors = adapters(decoder);
    if tensors.is_empty() {
        return Err(Error::state("this model has no adapter to save"));
    }
    let json = peft::config_json(lora, base, decoder.config.score_head);
    write_json(&folder.join(peft::CONFIG), &json)?;
    write_tensors(&folder.join(peft::WEIGHTS), tensors, SaveDtype::F32)
}

/// Writes tensors as one safetensors file, through a neighbour that is renamed.
///
/// By hand: the crate's own writer goes through a temporary file of a random name, which a killed process leaves behind, and
/// which only its owner may read.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: BTreeMap<String, Array>,
    dtype: SaveDtype,
) -> Result<()> {
    let header = header(&tensors, dtype);
    atomic::write(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for tensor in tensors.values() {
            let values = tensor.host().map_err(std::io::Error::other)?;
            for chunk in values.chunks(CHUNK) {
                file.write_all(&dtype.bytes(chunk))?;
            }
        }
        Ok(())
    })
}

/// Numbers that are converted at a time.
const CHUNK: usize = 1 << 16;

/// The JSON that says where every tensor stands, padded so that the data begins at a multiple of eight bytes.
fn header(tensors: &BTreeMap<String, Array>, dtype: SaveDtype) -> Vec<u8> {
    let (name, size) = match dtype {
        SaveDtype::F32 => ("F32", 4),
        SaveDtype::Bf16 => ("BF16", 2),
    };
    // transformers refuses files without this word.
    let mut json = Map::from_iter([("__metadata__".into(), json!({ "format": "pt" }))]);
    let mut at = 0;
    for (tensor, values) in tensors {
        let end = at + size * values.elem_count();
        let place = json!({ "dtype": name, "shape": values.shape(), "data_offsets": [at, end] });
        json.insert(tensor.clone(), place);
        at = end;
    }
    let mut header = Value::Object(json).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

pub(crate) fn write_json(path: &Path, json: &Value) -> Result<()> {
    atomic::write(path, |file| {
        serde_json::to_writer_pretty(&mut *file, json)?;
        file.write_all(b"\n")
    })
}

/// Every base parameter under its Hugging Face name, adapters merged in.
fn merged(decoder: &Decoder) -> Result<BTreeMap<String, Array>> {
    let mut all = base(decoder);
    for (weight, linear) in linears(decoder) {
        if let Some(adapter) = &linear.adapter {
            let (o, i) = linear.weight.array.dims2()?;
            let mut sum = linear.weight.stored().to_vec()?;
            adapter.merge_into(&mut sum, o, i)?;
            let merged = Array::from_vec(&Device::Cpu, Dtype::F32, sum, [o, i])?;
            all.insert(weight, merged);
        }
    }
    Ok(all)
}

/// Every base parameter under its Hugging Face name.
fn base(decoder: &Decoder) -> BTreeMap<String, Array> {
    let mut all = BTreeMap::new();
    let mut put = |name: String, tensor: &Array| all.insert(name, tensor.clone());
    put(
        "model.embed_tokens.weight".into(),
        decoder.embedding.stored(),
    );
    put(
        "model.norm.weight".into(),
        decoder.head.norm.weight.stored(),
    );
    if decoder.config.score_head {
        put(SCORE.into(), decoder.head.weight.stored());
    } else if !decoder.config.tie_word_embeddings {
        put("lm_head.weight".into(), decoder.head.weight.stored());
    }
    for (layer, block) in decoder.blocks.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        put(name("input_layernorm"), block.input_norm.weight.stored());
        put(
            name("post_attention_layernorm"),
            block.post_norm.weight.stored(),
        );
        if let Some((q, k)) = &block.qk_norm {
            put(name("self_attn.q_norm"), q.weight.stored());
            put(name("self_attn.k_norm"), k.weight.stored());
        }
    }
    for (weight, linear) in linears(decoder) {
        if let Some(bias) = &linear.bias {
            put(weight.replace(".weight", ".bias"), bias.stored());
        }
        put(weight, linear.weight.stored());
    }
    all
}

/// Every adapter half under PEFT's name.
fn adapters(decoder: &Decoder) -> BTreeMap<String, Array> {
    let mut all = BTreeMap::new();
    for (weight, linear) in linears(decoder) {
        if let Some(adapter) = &linear.adapter {
            let [a, b] = peft_names(&weight);
            all.insert(a, adapter.a.stored().clone());
            all.insert(b, adapter.b.stored().clone());
        }
    }
    if decoder.config.score_head && !all.is_empty() {
        all.insert(PEFT_SCORE.into(), decoder.head.weight.stored().clone());
    }
    all
}

impl Decoder {
    /// Shows every parameter under its checkpoint's name: the base's in order of their names, then the adapters'. Nothing is copied.
    ///
    /// # Errors
    /// Those of the device.
    pub fn visit(&self, see: &mut dyn FnMut(&str, &[f32])) -> Result<()> {
        for (name, tensor) in self.named() {
            see(&name, &tensor.host()?);
        }
        Ok(())
    }

    /// The names of all parameters, as [`Decoder::visit`] shows them.
    pub fn names(&self) -> Vec<String> {
        self.named().into_keys().collect()
    }

    /// A copy of one parameter, with its shape; `None` where there is none of that name.
    ///
    /// # Errors
    /// Those of the device.
    pub fn tensor(&self, name: &str) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        match self.named().get(name) {
            Some(tensor) => Ok(Some((tensor.shape().to_vec(), tensor.to_vec()?))),
            None => Ok(None),
        }
    }

    /// Every parameter by name, the adapters' too; a tied head only once.
    pub(crate) fn named(&self) -> BTreeMap<String, Array> {
        base(self).into_iter().chain(adapters(self)).collect()
    }
}

/// The linear layers of every block with their weights' names.
fn linears(decoder: &Decoder) -> impl Iterator<Item = (String, &Linear)> {
    decoder
        .blocks
        .iter()
        .enumerate()
        .flat_map(|(layer, block)| {
            let name = move |part| format!("model.layers.{layer}.{part}.weight");
            LINEARS.map(name).into_iter().zip(block.linears())
        })
}

impl SaveDtype {
    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            SaveDtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            SaveDtype::Bf16 => {
                let rounded = values.iter().map(|v| bf16::from_f32(*v));
                rounded.flat_map(bf16::to_le_bytes).collect()
            }
        }
    }
}

/// Writes a folder with the whole model, adapters merged, and its tokenizer's files: what `transformers` loads.
///
/// # Errors
/// A folder that exists already, or what the operating system says.
pub fn export(model: &Loaded, folder: &Path, dtype: SaveDtype) -> Result<()> {
    if folder.exists() {
        return Err(
            Error::parameter(format!("{} exists already", folder.display())).with_argument("out"),
        );
    }
    atomic::folder(folder, |folder| {
        save_model(&model.decoder, &model.config_json, folder, dtype)?;
        run_folder::copy_tokenizer(&model.base, folder)
    })
}

/// Writes a folder with the adapter alone and the tokenizer's files: what PEFT loads.
///
/// # Errors
/// A model without adapters; a folder that exists already, or what the operating system says.
pub fn export_adapter(model: &Loaded, folder: &Path) -> Result<()> {
    let Some(lora) = &model.lora else {
        return Err(Error::state("this model has no adapter to save"));
    };
    if folder.exists() {
        return Err(
            Error::parameter(format!("{} exists already", folder.display())).with_argument("out"),
        );
    }
    let base = std::path::absolute(&model.base).map_err(|e| Error::io(&model.base, e))?;
    atomic::folder(folder, |folder| {
        save_adapter(&model.decoder, lora, &base, folder)?;
        run_folder::copy_tokenizer(&model.base, folder)
    })
}
