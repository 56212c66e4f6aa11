//! Models by name: `org/name` is fetched once, into Hugging Face's cache.

use std::path::{Path, PathBuf};

use halo_core::Result;

use crate::output::Output;

/// The folder of a model: a path as it is, a name on the hub fetched, with the base of an adapter.
#[cfg(feature = "hub")]
pub(crate) fn folder(model: &Path, output: &Output) -> Result<PathBuf> {
    use halo_core::hub::{Hub, ModelId};
    use halo_core::models::base_name;
    use indicatif::{ProgressBar, ProgressStyle};

    let fetch = |model: &Path| -> Result<PathBuf> {
        if model.exists() || model.to_str().and_then(ModelId::parse).is_none() {
            return Ok(model.to_owned());
        }
        let bar = match output.draws() {
            true => ProgressBar::new(0),
            false => ProgressBar::hidden(),
        };
        let template =
            "{prefix} {wide_bar:.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec} {eta_precise}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let mut file = String::new();
        let folder = Hub::from_environment()?.resolve(model, &mut |download| {
            if file != download.file {
                download.file.clone_into(&mut file);
                bar.set_prefix(file.clone());
                if bar.is_hidden() {
                    output.note(format_args!("fetching {}/{file}", model.display()));
                }
            }
            bar.set_length(download.total);
            bar.set_position(download.done);
        });
        bar.finish_and_clear();
        folder
    };
    // Nothing given: what that means is the settings' to say.
    if model.as_os_str().is_empty() {
        return Ok(PathBuf::new());
    }
    let folder = fetch(model)?;
    // What is wrong with an adapter's configuration is said where the model is loaded.
    if let Some(base) = base_name(&folder)
        && !folder.join(&base).exists()
    {
        fetch(Path::new(&base))?;
    }
    Ok(folder)
}

/// The folder of a model: this build knows folders only.
#[cfg(not(feature = "hub"))]
pub(crate) fn folder(model: &Path, _: &Output) -> Result<PathBuf> {
    Ok(model.to_owned())
}
