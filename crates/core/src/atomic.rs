//! Files and folders that appear whole or not at all: written beside, synced, renamed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

const PARTIAL: &str = ".partial";

/// Writes a file through a neighbour that is renamed over it.
///
/// # Errors
/// What the operating system says, with the path; the old file then still stands.
pub(crate) fn write(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let partial = beside(path);
    let attempt = || {
        let mut file = BufWriter::new(File::create(&partial)?);
        write(&mut file)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&partial, path)
    };
    attempt().map_err(|e| {
        // The half-written neighbour is ours to remove; the first error is the one to report.
        let _ = fs::remove_file(&partial);
        Error::io(path, e)
    })
}

/// Fills a folder through a neighbour that is renamed to it.
///
/// # Errors
/// As [`write`].
pub(crate) fn folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let partial = beside(path);
    let attempt = (|| {
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(|e| Error::io(&partial, e))?;
        }
        fs::create_dir_all(&partial).map_err(|e| Error::io(&partial, e))?;
        fill(&partial)?;
        if path.exists() {
            fs::remove_dir_all(path).map_err(|e| Error::io(path, e))?;
        }
        fs::rename(&partial, path).map_err(|e| Error::io(path, e))
    })();
    attempt.inspect_err(|_| {
        let _ = fs::remove_dir_all(&partial);
    })
}

/// Removes what a killed process left half-written in a folder.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path
            .extension()
            .is_some_and(|e| format!(".{}", e.display()) == PARTIAL)
        {
            let _ = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    path.with_file_name(name)
}
