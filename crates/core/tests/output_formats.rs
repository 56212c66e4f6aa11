//! What halo writes is what others read, and what it reads again, to the bit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what was reached is worth reading"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use halo_core::models::{
    Decoder, Loaded, LoraConfig, SaveDtype, Training, export, load, save_adapter, save_model,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/fixtures")
        .canonicalize()
        .unwrap()
}

/// A folder of one test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("halo-output-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn models() -> Vec<PathBuf> {
    let all = fs::read_dir(fixtures().join("models")).unwrap();
    let mut all: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

fn adapters() -> Vec<PathBuf> {
    let cases = ["kto-lora", "kto-lora-snapshot", "dpo-lora"];
    cases
        .map(|case| fixtures().join("trl").join(case).join("adapter"))
        .to_vec()
}

fn values(decoder: &Decoder) -> BTreeMap<String, Vec<u32>> {
    let mut all = BTreeMap::new();
    let mut see = |name: &str, values: &[f32]| {
        all.insert(
            name.to_string(),
            values.iter().map(|v| v.to_bits()).collect(),
        );
    };
    decoder.visit(&mut see).unwrap();
    all
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn frozen(folder: &Path) -> Loaded {
    load(folder, &Training::Frozen, 0).unwrap()
}

/// Name, dtype and shape of every tensor of a file, as the safetensors crate reads it.
fn tensors(path: &Path) -> BTreeMap<String, (Dtype, Vec<usize>)> {
    let bytes = fs::read(path).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    // transformers asks for this word; the data begins at a multiple of eight bytes.
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    assert_eq!((8 + header) % 8, 0);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let all = file.tensors().into_iter();
    all.map(|(name, view)| (name, (view.dtype(), view.shape().to_vec())))
        .collect()
}

#[test]
fn a_saved_model_loads_with_the_same_bits_under_the_same_names() {
    let scratch = Scratch::new("model");
    for folder in models() {
        let model = frozen(&folder);
        let out = scratch.0.join(folder.file_name().unwrap());
        fs::create_dir_all(&out).unwrap();
        save_model(&model.decoder, &model.config_json, &out, SaveDtype::F32).unwrap();
        let again = frozen(&out);
        assert!(
            values(&again.decoder) == values(&model.decoder),
            "{}",
            folder.display()
        );

        let ours = tensors(&out.join("model.safetensors"));
        assert!(ours.values().all(|(dtype, _)| *dtype == Dtype::F32));
        if let Ok(theirs) = fs::read(folder.join("model.safetensors")) {
            let theirs = SafeTensors::deserialize(&theirs).unwrap();
            let theirs: BTreeMap<_, _> = theirs
                .tensors()
                .into_iter()
                .map(|(name, view)| (name, view.shape().to_vec()))
                .collect();
            let ours: BTreeMap<_, _> = ours.into_iter().map(|(name, of)| (name, of.1)).collect();
            assert_eq!(ours, theirs, "{}", folder.display());
        }
        // The configuration is the one that came, but for the dtype.
        let (mut ours, mut theirs) = (
            json(out.join("config.json")),
            json(folder.join("config.json")),
        );
        for config in [&mut ours, &mut theirs] {
            let keys = ["dtype", "torch_dtype"];
            let found = keys.map(|key| config.as_object_mut().unwrap().remove(key));
            assert_eq!(found.iter().flatten().count(), 1);
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_bf16_export_holds_every_weight_rounded_to_nearest() {
    let scratch = Scratch::new("bf16");
    let model = frozen(&fixtures().join("models/qwen3"));
    let out = scratch.0.join("model");
    export(&model, &out, SaveDtype::Bf16).unwrap();
    assert_eq!(json(out.join("config.json"))["dtype"], "bfloat16");
    let file = tensors(&out.join("model.safetensors"));
    assert!(file.values().all(|(dtype, _)| *dtype == Dtype::BF16));
    let (rounded, exact) = (values(&frozen(&out).decoder), values(&model.decoder));
    let mut changed = 0;
    for (name, bits) in &exact {
        for (exact, rounded) in bits.iter().zip(&rounded[name]) {
            // Half of a unit in the last of bf16's places; ties go to the even neighbour.
            let expected = (exact + 0x7fff + ((exact >> 16) & 1)) & 0xffff_0000;
            assert_eq!(*rounded, expected, "{name}");
            changed += usize::from(exact != rounded);
        }
    }
    assert!(changed > 0);
    // A second rounding changes nothing.
    let again = scratch.0.join("again");
    export(&frozen(&out), &again, SaveDtype::Bf16).unwrap();
    let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert!(weights(&out) == weights(&again));
}

#[test]
fn a_saved_adapter_has_pefts_names_and_shapes_and_comes_back_with_the_same_bits() {
    let scratch = Scratch::new("adapter");
    for folder in adapters() {
        let model = frozen(&folder);
        let lora = model.lora.clone().unwrap();
        let out = scratch.0.join("adapter");
        fs::create_dir_all(&out).unwrap();
        let base = model.base.canonicalize().unwrap();
        save_adapter(&model.decoder, &lora, &base, &out).unwrap();

        let file = "adapter_model.safetensors";
        assert_eq!(tensors(&out.join(file)), tensors(&folder.join(file)));
        assert!(values(&frozen(&out).decoder) == values(&model.decoder));
        let (ours, theirs) = (
            json(out.join("adapter_config.json")),
            json(folder.join("adapter_config.json")),
        );
        for (key, value) in ours.as_object().unwrap() {
            match key.as_str() {
                "base_model_name_or_path" => assert!(value.as_str().unwrap().starts_with('/')),
                // A set in PEFT.
                "target_modules" => {
                    let sorted = |value: &Value| {
                        let names = value.as_array().unwrap().iter();
                        let mut names: Vec<_> = names.map(|name| name.to_string()).collect();
                        names.sort();
                        names
                    };
                    assert_eq!(sorted(value), sorted(&theirs[key]));
                }
                "lora_alpha" => assert_eq!(value.as_f64(), theirs[key].as_f64()),
                _ => assert_eq!(value, &theirs[key], "{key}"),
            }
        }
    }
}

#[test]
fn a_fresh_adapter_of_some_layers_comes_back_as_it_was() {
    let scratch = Scratch::new("fresh");
    let lora = LoraConfig {
        target_modules: vec!["v_proj".into(), "up_proj".into()],
        layers: Some(vec![1]),
        ..LoraConfig::all_linear(3, 5.0)
    };
    let folder = fixtures().join("models/qwen2");
    let model = load(&folder, &Training::Lora(lora.clone()), 9).unwrap();
    save_adapter(&model.decoder, &lora, &folder, &scratch.0).unwrap();
    let again = load(&scratch.0, &Training::Lora(lora), 1).unwrap();
    assert!(values(&again.decoder) == values(&model.decoder));
    assert_eq!(
        json(scratch.0.join("adapter_config.json"))["layers_to_transform"][0],
        1
    );
}

#[test]
fn an_exported_adapter_is_merged_into_its_base() {
    let scratch = Scratch::new("merged");
    let ids: Vec<u32> = (0..24).map(|i| 3 + (i * 37) % 90).collect();
    for (i, folder) in adapters().into_iter().enumerate() {
        let model = frozen(&folder);
        let out = scratch.0.join(i.to_string());
        export(&model, &out, SaveDtype::F32).unwrap();
        assert!(!out.join("adapter_config.json").exists());
        let merged = frozen(&out);
        assert!(merged.lora.is_none());
        let base = frozen(&model.base);
        let [merged, apart, base] =
            [&merged, &model, &base].map(|model| model.decoder.logits(&ids).unwrap());
        let difference = |other: &[f32]| {
            let pairs = merged.iter().zip(other);
            pairs.fold(0f32, |max, (a, b)| max.max((a - b).abs()))
        };
        let scale = apart.iter().fold(0f32, |max, x| max.max(x.abs()));
        let error = difference(&apart) / scale;
        println!("{}: merged within {error:.1e}", folder.display());
        assert!(error < 1e-5, "{}: {error:e}", folder.display());
        assert!(
            difference(&base) / scale > 1e-2,
            "the adapter does something"
        );
    }
}

#[test]
fn an_export_brings_the_tokenizer_and_refuses_a_folder_that_is_there() {
    let scratch = Scratch::new("export");
    let folder = fixtures().join("models/llama");
    let (model, out) = (frozen(&folder), scratch.0.join("model"));
    export(&model, &out, SaveDtype::F32).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        let [ours, theirs] = [&out, &folder].map(|folder| fs::read(folder.join(file)).unwrap());
        assert_eq!(ours, theirs);
    }
    let error = export(&model, &out, SaveDtype::F32).unwrap_err();
    assert!(error.is_parameter());
    assert!(error.to_string().ends_with("exists already"), "{error}");
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn saved_files_have_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("mode");
    let plain = scratch.0.join("plain");
    fs::write(&plain, "").unwrap();
    let out = scratch.0.join("model");
    export(
        &frozen(&fixtures().join("models/llama")),
        &out,
        SaveDtype::F32,
    )
    .unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
    for file in ["model.safetensors", "config.json"] {
        assert_eq!(mode(out.join(file)), mode(plain.clone()), "{file}");
    }
}
