//! Reference log-probabilities on disk, keyed by the reference's weights and by every (prompt, completion) pair's tokens.
//!
//! One JSON line, then entries of 16 + 8 bytes: the first half of SHA-256 over the pair, and the log-probability (f64, little-endian).
//! A new pairing of mismatched completions misses and is computed; the other entries stay valid.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::models::Decoder;
use crate::{Error, Result, atomic};

type Key = [u8; 16];
const ENTRY: usize = size_of::<Key>() + size_of::<f64>();

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    /// Of the reference's weights and configuration.
    reference: String,
    /// Of the computation.
    dtype: String,
    entries: usize,
}

/// The cache in memory, and the file it came from.
pub(crate) struct LogpCache {
    path: PathBuf,
    reference: String,
    entries: BTreeMap<Key, f64>,
    changed: bool,
}

impl LogpCache {
    /// Opens the cache of the reference with this fingerprint; an absent file is an empty cache.
    ///
    /// # Errors
    /// A file made with other weights (stale), or one that is damaged.
    pub(crate) fn open(path: &Path, reference: &str) -> Result<LogpCache> {
        let mut cache = LogpCache {
            path: path.to_owned(),
            reference: reference.to_owned(),
            entries: BTreeMap::new(),
            changed: false,
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(cache),
            Err(e) => return Err(Error::io(path, e)),
        };
        let damaged = |why: &str| {
            Error::state(format!(
                "{}: {why}; delete it to compute it again",
                path.display()
            ))
        };
        let end = bytes
            .iter()
            .position(|b| *b == b'\n')
            .ok_or_else(|| damaged("not a reference cache"))?;
        let header: Header =
            serde_json::from_slice(&bytes[..end]).map_err(|_| damaged("not a reference cache"))?;
        if header != cache.header(header.entries) {
            return Err(Error::state(format!(
                "{}: stale: it was made with reference {}, this run's is {reference}; delete it, or give another --reference-cache",
                path.display(),
                header.reference
            )));
        }
        let (entries, rest) = bytes[end + 1..].as_chunks::<ENTRY>();
        if !rest.is_empty() || entries.len() != header.entries {
            return Err(damaged("truncated"));
        }
        for entry in entries {
            let (mut key, mut logp) = (Key::default(), [0; 8]);
            key.copy_from_slice(&entry[..16]);
            logp.copy_from_slice(&entry[16..]);
            cache.entries.insert(key, f64::from_le_bytes(logp));
        }
        Ok(cache)
    }

    pub(crate) fn get(&self, prompt: &[u32], completion: &[u32]) -> Option<f64> {
        self.entries.get(&key(prompt, completion)).copied()
    }

    pub(crate) fn insert(&mut self, prompt: &[u32], completion: &[u32], logp: f64) {
        self.entries.insert(key(prompt, completion), logp);
        self.changed = true;
    }

    /// Writes the file anew, whole or not at all, if anything was added.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let header = self.header(self.entries.len());
        atomic::write(&self.path, |file| {
            serde_json::to_writer(&mut *file, &header)?;
            file.write_all(b"\n")?;
            for (key, logp) in &self.entries {
                file.write_all(key)?;
                file.write_all(&logp.to_le_bytes())?;
            }
            Ok(())
        })?;
        self.changed = false;
        Ok(())
    }

    fn header(&self, entries: usize) -> Header {
        Header {
            format: "halo.reference".into(),
            version: 1,
            reference: self.reference.clone(),
            dtype: "f32".into(),
            entries,
        }
    }
}

fn key(prompt: &[u32], completion: &[u32]) -> Key {
    let mut hash = Sha256::new();
    // The length keeps (ab, c) apart from (a, bc).
    hash.update((prompt.len() as u64).to_le_bytes());
    prompt
        .iter()
        .chain(completion)
        .for_each(|token| hash.update(token.to_le_bytes()));
    let mut key = Key::default();
    key.copy_from_slice(&hash.finalize()[..16]);
    key
}

/// A digest of a model: its configuration and every value.
pub(crate) fn fingerprint(decoder: &Decoder) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", decoder.config()));
    decoder.visit(&mut |name, values| {
        hash.update(name);
        values
            .iter()
            .for_each(|value| hash.update(value.to_le_bytes()));
    })?;
    Ok(hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_comes_back_and_refuses_other_weights_and_truncation() {
        let folder = std::env::temp_dir().join(format!("halo-cache-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("reference.cache");
        let mut cache = LogpCache::open(&path, "aa").unwrap();
        cache.insert(&[1, 2], &[3], -1.5);
        cache.insert(&[1], &[2, 3], -2.5);
        cache.flush().unwrap();

        let cache = LogpCache::open(&path, "aa").unwrap();
        assert_eq!(cache.get(&[1, 2], &[3]), Some(-1.5));
        assert_eq!(cache.get(&[1], &[2, 3]), Some(-2.5));
        assert_eq!(cache.get(&[1], &[2]), None);

        let stale = LogpCache::open(&path, "bb").err().unwrap();
        assert!(
            stale.is_state() && stale.to_string().contains("stale"),
            "{stale}"
        );

        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let damaged = LogpCache::open(&path, "aa").err().unwrap();
        assert!(damaged.to_string().contains("truncated"), "{damaged}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
