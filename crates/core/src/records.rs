//! A run's line-by-line records: `metrics.jsonl` and `examples.jsonl`, appended step by step, cut back on resume.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::{Error, Result, atomic};

/// One file of JSON lines that carry a `step`.
pub(crate) struct Lines {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    len: u64,
}

impl Lines {
    /// Opens the file for the steps after `completed`: what an interrupted run wrote beyond its checkpoint is removed.
    pub(crate) fn open(path: &Path, completed: u64, header: Option<&Value>) -> Result<Lines> {
        let failed = |e| Error::io(path, e);
        let kept = kept(path, completed)?;
        atomic::write(path, |file| {
            if let (true, Some(header)) = (kept.is_empty(), header) {
                writeln!(file, "{header}")?;
            }
            kept.iter().try_for_each(|line| {
                file.write_all(line)?;
                file.write_all(b"\n")
            })
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Lines {
            len: file.metadata().map_err(failed)?.len(),
            path: path.to_owned(),
            file,
        })
    }

    /// Appends records and hands them to the operating system: all of them, or none.
    ///
    /// # Errors
    /// What the operating system says, with the path.
    pub(crate) fn append<T: Serialize>(&mut self, records: &[T]) -> Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            serde_json::to_writer(&mut bytes, record)
                .map_err(|e| Error::internal(e.to_string()))?;
            bytes.push(b'\n');
        }
        self.file.write_all(&bytes).map_err(|e| {
            // A full disk takes part of a line; the first error is the one to report.
            let _ = self.file.set_len(self.len);
            Error::io(&self.path, e)
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The lines up to a step; a header (no step) is kept, a line that was cut off in writing is not.
fn kept(path: &Path, completed: u64) -> Result<Vec<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(path, e)),
    };
    if completed == 0 {
        return Ok(Vec::new());
    }
    let mut kept = Vec::new();
    // Bytes: the cut may stand within a letter.
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|e| Error::io(path, e))?;
        let Ok(json) = serde_json::from_slice::<Value>(&line) else {
            break;
        };
        match json.get("step").and_then(Value::as_u64) {
            Some(step) if step > completed => break,
            _ => kept.push(line),
        }
    }
    Ok(kept)
}
