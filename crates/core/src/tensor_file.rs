//! Writing tensors as one safetensors file.
//!
//! By hand: the crate's own writer goes through a temporary file of a random name, which a killed process leaves behind, and
//! which only its owner may read.

use std::collections::BTreeMap;
use std::path::Path;

use half::bf16;
use serde_json::{Map, Value, json};

use crate::array::Array;
use crate::ops::optim::Codes;
use crate::{Result, atomic};

/// The dtype of saved weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveDtype {
    /// 32-bit, exact.
    #[default]
    F32,
    /// 16-bit brain floats, rounded to nearest.
    Bf16,
}

/// One tensor of a file.
pub(crate) enum Content<'a> {
    Numbers(Array, SaveDtype),
    /// Bytes under the shape of what they stand for.
    Codes(Codes<'a>, &'a [usize]),
}

/// Writes tensors of one dtype, through a neighbour that is renamed.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: BTreeMap<String, Array>,
    dtype: SaveDtype,
) -> Result<()> {
    let contents = tensors.into_iter();
    let contents = contents.map(|(name, array)| (name, Content::Numbers(array, dtype)));
    write_contents(path, contents.collect())
}

/// Writes tensors of several dtypes, through a neighbour that is renamed. What lies on a device is fetched one tensor at a time.
pub(crate) fn write_contents(path: &Path, contents: BTreeMap<String, Content<'_>>) -> Result<()> {
    let mut contents: Vec<_> = contents.into_iter().collect();
    // By name, the widest numbers first: so every tensor begins at a multiple of its numbers' size, which readers rely on.
    contents.sort_by_key(|(_, content)| std::cmp::Reverse(content.size()));
    let header = header(&contents);
    atomic::write(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, content) in &contents {
            match content {
                Content::Numbers(array, dtype) => {
                    let values = array.host().map_err(std::io::Error::other)?;
                    for chunk in values.chunks(CHUNK) {
                        file.write_all(&dtype.bytes(chunk))?;
                    }
                }
                Content::Codes(codes, _) => {
                    file.write_all(&codes.host().map_err(std::io::Error::other)?)?;
                }
            }
        }
        Ok(())
    })
}

/// Numbers that are converted at a time.
const CHUNK: usize = 1 << 16;

/// The JSON that says where every tensor stands, padded so that the data begins at a multiple of eight bytes.
fn header(contents: &[(String, Content<'_>)]) -> Vec<u8> {
    // transformers refuses files without this word.
    let mut json = Map::from_iter([("__metadata__".into(), json!({ "format": "pt" }))]);
    let mut at = 0;
    for (tensor, content) in contents {
        let end = at + content.bytes();
        let place = json!({ "dtype": content.dtype(), "shape": content.shape(), "data_offsets": [at, end] });
        json.insert(tensor.clone(), place);
        at = end;
    }
    let mut header = Value::Object(json).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

impl Content<'_> {
    /// Bytes of the whole tensor.
    pub(crate) fn bytes(&self) -> usize {
        self.size() * self.shape().iter().product::<usize>()
    }

    fn shape(&self) -> &[usize] {
        match self {
            Content::Numbers(array, _) => array.shape(),
            Content::Codes(_, shape) => shape,
        }
    }

    /// Bytes of one number.
    fn size(&self) -> usize {
        match self {
            Content::Numbers(_, SaveDtype::F32) => 4,
            Content::Numbers(_, SaveDtype::Bf16) => 2,
            Content::Codes(..) => 1,
        }
    }

    /// safetensors' name.
    fn dtype(&self) -> &'static str {
        match self {
            Content::Numbers(_, SaveDtype::F32) => "F32",
            Content::Numbers(_, SaveDtype::Bf16) => "BF16",
            Content::Codes(..) => "U8",
        }
    }
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
