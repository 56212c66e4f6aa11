//! A run's folder: claimed once, described by `run.toml`, finished as a model folder.

use std::fs;
use std::path::Path;

use crate::config::TrainConfig;
use crate::{Error, Result, atomic};

/// The configuration that a run was started with: `halo train --config run.toml` starts the same run again.
pub const CONFIG: &str = "run.toml";

/// Files beside the weights that make a folder usable; copied where they exist.
const COMPANIONS: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "generation_config.json",
    "chat_template.jinja",
];

/// Makes the folder, or checks that it holds a run to resume; whether it was made now.
///
/// # Errors
/// A folder that cannot be written; one that holds a run without `resume`, or none with it.
pub(crate) fn claim(folder: &Path, resume: bool) -> Result<bool> {
    let holds_run = holds_run(folder);
    if holds_run && !resume {
        return Err(Error::state(format!(
            "{} holds a run already; continue it with --resume, or choose another --out",
            folder.display()
        )));
    }
    if resume && !holds_run {
        return Err(Error::state(format!(
            "{} holds no run to resume",
            folder.display()
        )));
    }
    let made = !folder.exists();
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    atomic::sweep(folder);
    // Fail now, not after the first step.
    let probe = folder.join("write-test.partial");
    fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|e| Error::io(folder, e))?;
    Ok(made)
}

/// Whether a run stands in the folder.
pub(crate) fn holds_run(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}

pub(crate) fn write_config(config: &TrainConfig) -> Result<()> {
    let text = toml::to_string(config).map_err(|e| Error::internal(e.to_string()))?;
    atomic::write(&config.output_dir.join(CONFIG), |file| {
        file.write_all(text.as_bytes())
    })
}

pub(crate) fn copy_tokenizer(from: &Path, to: &Path) -> Result<()> {
    for name in COMPANIONS {
        let (source, target) = (from.join(name), to.join(name));
        if source.is_file() {
            fs::copy(&source, &target).map_err(|e| Error::io(&target, e))?;
        }
    }
    Ok(())
}
