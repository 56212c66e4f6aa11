//! Models from a Hugging Face hub: `org/name` or `org/name@revision` becomes a local folder.
//!
//! Only what training needs is fetched: configuration, tokenizer, safetensors. Files land in Hugging Face's own cache, in its
//! layout, so a model that Python has fetched is not fetched again, and the other way round. Every file is checked against the
//! size and, for weights, the SHA-256 that the hub states, and appears under its name only when it is whole.
//!
//! The engine itself never opens a connection: only callers of this module do.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result, atomic, weights};

mod cache;
mod download;

pub(crate) use cache::{cached_model, name_of};

use cache::cached;
use download::Client;

/// The files of a model that are fetched, apart from its weights.
const FILES: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    "adapter_config.json",
    "adapter_model.safetensors",
];

/// A hub and the local cache of it.
#[derive(Clone)]
pub struct Hub {
    /// Where it is: `https://huggingface.co` or a mirror.
    pub endpoint: String,
    /// Where models are kept, in Hugging Face's layout.
    pub cache: PathBuf,
    /// An access token, for gated and private models.
    pub token: Option<String>,
    /// Never connect: only what the cache has.
    pub offline: bool,
}

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download<'a> {
    /// The file that is being fetched.
    pub file: &'a str,
    /// Bytes of the whole model that are there.
    pub done: u64,
    /// Bytes of the whole model.
    pub total: u64,
}

/// A model on a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// `org/name`.
    pub name: String,
    /// A branch, tag or commit.
    pub revision: String,
}

impl ModelId {
    /// Reads `org/name` or `org/name@revision`; `None` for anything that can only be a path.
    pub fn parse(text: &str) -> Option<ModelId> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        let word = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
        };
        let (org, model) = name.split_once('/')?;
        let revised = !revision.is_empty() && revision.split('/').all(word);
        (word(org) && word(model) && revised).then(|| ModelId {
            name: name.to_owned(),
            revision: revision.to_owned(),
        })
    }
}

/// What the hub says about a model.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Hub {
    /// The hub that Hugging Face's variables name: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME`, `HF_TOKEN` or the token file of
    /// a login, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// Neither a cache folder nor a home to put it in.
    pub fn from_environment() -> Result<Hub> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = match (
            variable("HF_HOME"),
            variable("XDG_CACHE_HOME"),
            std::env::home_dir(),
        ) {
            (Some(home), _, _) => PathBuf::from(home),
            (None, Some(cache), _) => Path::new(&cache).join("huggingface"),
            (None, None, Some(home)) => home.join(".cache").join("huggingface"),
            (None, None, None) => {
                return Err(Error::parameter(
                    "there is no home folder to cache models in; set HF_HOME",
                ));
            }
        };
        let token = variable("HF_TOKEN").or_else(|| fs::read_to_string(home.join("token")).ok());
        Ok(Hub {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            cache: variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: token
                .map(|token| token.trim().to_owned())
                .filter(|token| !token.is_empty()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| value != "0"),
        })
    }

    /// A path as it is, if something is there or it can only be a path; otherwise the hub's model of this name, fetched.
    ///
    /// # Errors
    /// As [`Hub::model`].
    pub fn resolve(&self, path: &Path, progress: &mut dyn FnMut(&Download<'_>)) -> Result<PathBuf> {
        match path.to_str().and_then(ModelId::parse) {
            Some(id) if !path.exists() => self.model(&id, progress),
            _ => Ok(path.to_owned()),
        }
    }

    /// The folder of a model: what is missing in the cache is fetched. Without a connection, a complete cached copy will do.
    ///
    /// # Errors
    /// No such model, no access, no safetensors in it; a hub that cannot be reached or sends something else than it promised;
    /// a cache that cannot be written.
    pub fn model(&self, id: &ModelId, progress: &mut dyn FnMut(&Download<'_>)) -> Result<PathBuf> {
        let folder = self
            .cache
            .join(format!("models--{}", id.name.replace('/', "--")));
        if self.offline {
            return cached(&folder, id).ok_or_else(|| {
                Error::unavailable(format!(
                    "{}: not in {} (offline)",
                    id.name,
                    self.cache.display()
                ))
            });
        }
        let client = Client::new(self);
        let info: Info = match client.info(id) {
            Ok(info) => info,
            Err(error) if error.is_unavailable() => {
                return cached(&folder, id).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        let files = wanted(id, &info.siblings)?;
        if !info.sha.chars().all(|c| c.is_ascii_hexdigit()) || info.sha.is_empty() {
            return Err(Error::unavailable(format!(
                "{}: the hub states no commit",
                id.name
            )));
        }
        let snapshot = folder.join("snapshots").join(&info.sha);
        let size = |file: &Sibling| file.lfs.as_ref().map(|lfs| lfs.size).or(file.size);
        let total = files.iter().filter_map(|file| size(file)).sum();
        let mut done = 0;
        for file in files {
            let path = snapshot.join(&file.rfilename);
            let (size, sha256) = (size(file), file.lfs.as_ref().map(|lfs| lfs.sha256.as_str()));
            let there =
                fs::metadata(&path).is_ok_and(|meta| size.is_none_or(|size| size == meta.len()));
            if !there {
                client.file(
                    id,
                    &info.sha,
                    &file.rfilename,
                    size,
                    sha256,
                    &path,
                    &mut |bytes| {
                        progress(&Download {
                            file: &file.rfilename,
                            done: done + bytes,
                            total,
                        });
                    },
                )?;
            }
            done += size.unwrap_or(0);
        }
        // Last: a reference to a snapshot means that it is whole.
        let reference = folder.join("refs").join(&id.revision);
        make_parent(&reference)?;
        atomic::write(&reference, |out| out.write_all(info.sha.as_bytes()))?;
        Ok(snapshot)
    }
}

impl std::fmt::Debug for Hub {
    // Without the token: errors and logs print this.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .finish()
    }
}

/// The files that training needs.
fn wanted<'a>(id: &ModelId, siblings: &'a [Sibling]) -> Result<Vec<&'a Sibling>> {
    let named = |name: &str| siblings.iter().any(|file| file.rfilename == name);
    let single = named(weights::SINGLE);
    let weights = |name: &str| match single {
        true => name == weights::SINGLE,
        false => {
            name == "model.safetensors.index.json"
                || (name.starts_with("model-") && name.ends_with(".safetensors"))
        }
    };
    let files: Vec<&Sibling> = siblings
        .iter()
        .filter(|file| FILES.contains(&file.rfilename.as_str()) || weights(&file.rfilename))
        // A listing is the hub's word, not a licence to write anywhere.
        .filter(|file| {
            Path::new(&file.rfilename)
                .components()
                .all(|c| matches!(c, Component::Normal(_)))
        })
        .collect();
    if !files
        .iter()
        .any(|file| file.rfilename.ends_with(".safetensors"))
    {
        return Err(Error::model(format!(
            "{}: the model has no safetensors weights on the hub",
            id.name
        )));
    }
    Ok(files)
}

fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(|e| Error::io(parent, e)),
        None => Ok(()),
    }
}
