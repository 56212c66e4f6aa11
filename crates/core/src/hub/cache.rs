//! Hugging Face's cache: `models--org--name/{refs/REVISION, snapshots/COMMIT/FILE}`.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Hub, ModelId};

/// The folder of a model that is in the cache of [`Hub::from_environment`], without a connection: an adapter's base, say.
pub(crate) fn cached_model(name: &str) -> Option<PathBuf> {
    let hub = Hub {
        offline: true,
        ..Hub::from_environment().ok()?
    };
    hub.model(&ModelId::parse(name)?, &mut |_| {}).ok()
}

/// The name of the model whose snapshot in a cache this folder is: what others know it by.
pub(crate) fn name_of(folder: &Path) -> Option<String> {
    let snapshots = folder
        .parent()
        .filter(|parent| parent.ends_with("snapshots"))?;
    let model = snapshots.parent()?.file_name()?.to_str()?;
    let name = model.strip_prefix("models--")?.replacen("--", "/", 1);
    ModelId::parse(&name).map(|id| id.name)
}

/// The cached snapshot of a revision, or of a commit, if it has a configuration.
pub(super) fn cached(folder: &Path, id: &ModelId) -> Option<PathBuf> {
    let commit = fs::read_to_string(folder.join("refs").join(&id.revision));
    let commit = commit.map_or_else(|_| id.revision.clone(), |text| text.trim().to_owned());
    let snapshot = folder.join("snapshots").join(commit);
    ["config.json", "adapter_config.json"]
        .iter()
        .any(|name| snapshot.join(name).is_file())
        .then_some(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_snapshot_is_known_by_its_models_name() {
        let name = |path: &str| name_of(Path::new(path));
        let path = "/c/hub/models--Qwen--Qwen2.5-0.5B/snapshots/0123abc";
        assert_eq!(name(path).as_deref(), Some("Qwen/Qwen2.5-0.5B"));
        for path in [
            "/c/models/snapshots/x",
            "models--a--b",
            "/c/models--a--b/blobs/x",
            "/c/models--a/snapshots/x",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }
}
