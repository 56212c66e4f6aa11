//! A model folder's safetensors: found, checked and read one tensor at a time, as f32.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The weights of a model in one file.
pub(crate) const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// safetensors' own limit for its header.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of one or many safetensors files, by name.
#[derive(Debug)]
pub struct Weights {
    tensors: BTreeMap<String, (PathBuf, u64, TensorInfo)>,
}

impl Weights {
    /// Opens `model.safetensors`, or the files that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// Neither file, a file that is shorter or longer than its header says, or a header that is not safetensors.
    pub fn open(folder: &Path) -> Result<Weights> {
        let single = folder.join(SINGLE);
        if single.is_file() {
            return Self::from_files([single]);
        }
        let index = folder.join(INDEX);
        if !index.is_file() {
            return Err(Error::model(format!(
                "{}: neither {SINGLE} nor {INDEX} is there",
                folder.display()
            )));
        }
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let index: Index = read_json(&index)?;
        let files: std::collections::BTreeSet<_> = index.weight_map.values().collect();
        Self::from_files(files.into_iter().map(|name| folder.join(name)))
    }

    /// Opens the given files.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn from_files(files: impl IntoIterator<Item = PathBuf>) -> Result<Weights> {
        let mut tensors = BTreeMap::new();
        for path in files {
            let (header, metadata) = header(&path)?;
            for (name, info) in metadata.tensors() {
                tensors.insert(name, (path.clone(), header, info.clone()));
            }
        }
        Ok(Weights { tensors })
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's shape, if it exists.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors
            .get(name)
            .map(|(_, _, info)| info.shape.as_slice())
    }

    /// One tensor, widened to f32.
    ///
    /// # Errors
    /// A missing tensor, another shape than expected, a dtype other than f32, f16 or bf16, or NaN or infinite values.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (bytes, dtype, path) = self.bytes(name, shape)?;
        let named = |problem| damaged(path, name, problem);
        let values = widen(&bytes, dtype)
            .ok_or_else(|| named(format!("dtype {dtype:?}; known: F32, F16, BF16")))?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(named(format!("element {at} is {}", values[at]))),
        }
    }

    /// One tensor of bytes that are codes.
    ///
    /// # Errors
    /// A missing tensor, another shape than expected, or a dtype other than u8.
    pub(crate) fn read_codes(&self, name: &str, shape: &[usize]) -> Result<Vec<u8>> {
        match self.bytes(name, shape)? {
            (bytes, Dtype::U8, _) => Ok(bytes),
            (_, dtype, path) => {
                let problem = format!("dtype {dtype:?}, but the codes of 8-bit moments are U8");
                Err(damaged(path, name, problem))
            }
        }
    }

    fn bytes(&self, name: &str, shape: &[usize]) -> Result<(Vec<u8>, Dtype, &Path)> {
        let Some((path, start, info)) = self.tensors.get(name) else {
            return Err(Error::model(format!("tensor {name} is missing")));
        };
        if info.shape != shape {
            let problem = format!("shape {:?}, but config.json asks for {shape:?}", info.shape);
            return Err(damaged(path, name, problem));
        }
        let (begin, end) = info.data_offsets;
        let mut bytes = vec![0u8; end - begin];
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        file.seek(SeekFrom::Start(start + begin as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| Error::io(path, e))?;
        Ok((bytes, info.dtype, path))
    }
}

fn damaged(path: &Path, name: &str, problem: String) -> Error {
    Error::model(format!("{}: {name}: {problem}", path.display()))
}

/// A JSON file of a model folder.
///
/// # Errors
/// A file that cannot be read, or that is not the JSON it should be.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_str(&text).map_err(|e| Error::model(format!("{}: {e}", path.display())))
}

/// Where the data begins, and what the header says.
fn header(path: &Path) -> Result<(u64, Metadata)> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let len = file.metadata().map_err(|e| Error::io(path, e))?.len();
    let broken = |problem: String| Error::model(format!("{}: {problem}", path.display()));
    let mut prefix = [0u8; 8];
    file.read_exact(&mut prefix)
        .map_err(|_| broken(format!("{len} bytes are too few for safetensors")))?;
    let size = u64::from_le_bytes(prefix);
    if size > MAX_HEADER || size + 8 > len {
        return Err(broken(format!(
            "not safetensors, or truncated: the header would take {size} of {len} bytes"
        )));
    }
    let mut bytes = vec![0u8; size as usize];
    file.read_exact(&mut bytes)
        .map_err(|e| Error::io(path, e))?;
    // Deserialising checks that the tensors' ranges follow each other and fit their shapes.
    let metadata: Metadata =
        serde_json::from_slice(&bytes).map_err(|e| broken(format!("not safetensors: {e}")))?;
    let data = metadata
        .tensors()
        .values()
        .map(|info| info.data_offsets.1)
        .max();
    let expected = 8 + size + data.unwrap_or(0) as u64;
    if expected != len {
        return Err(broken(format!(
            "truncated or damaged: {len} bytes, but its header says {expected}"
        )));
    }
    Ok((8 + size, metadata))
}

fn widen(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::F16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect(),
        Dtype::BF16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).to_f32())
            .collect(),
        _ => return None,
    })
}
