//! A run's line-by-line records: `metrics.jsonl` and `examples.jsonl`, appended step by step, cut back on resume.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::{Error, Result, atomic};

/// One file of JSON lines that carry a `step`.
pub(crate) struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
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
            kept.iter().try_for_each(|line| writeln!(file, "{line}"))
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Lines {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    /// Appends records and hands them to the operating system.
    pub(crate) fn append<T: Serialize>(&mut self, records: &[T]) -> Result<()> {
        let mut attempt = || -> std::io::Result<()> {
            for record in records {
                serde_json::to_writer(&mut self.file, record)?;
                self.file.write_all(b"\n")?;
            }
            self.file.flush()
        };
        attempt().map_err(|e| Error::io(&self.path, e))
    }
}

/// The lines up to a step; a header (no step) is kept, a line that was cut off in writing is not.
fn kept(path: &Path, completed: u64) -> Result<Vec<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(path, e)),
    };
    if completed == 0 {
        return Ok(Vec::new());
    }
    let mut kept = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|e| Error::io(path, e))?;
        let Ok(json) = serde_json::from_str::<Value>(&line) else {
            break;
        };
        match json.get("step").and_then(Value::as_u64) {
            Some(step) if step > completed => break,
            _ => kept.push(line),
        }
    }
    Ok(kept)
}
