//! The lines of a JSONL file: plain or gzip by content, streamed, each with its number.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

/// Longer lines are refused: no record is that long, and a file without line ends would fill the memory.
const MAX_LINE: usize = 64 << 20;

/// One line that is not blank.
#[derive(Debug)]
pub(crate) struct Line {
    /// Counted from 1, blank lines included.
    pub(crate) number: usize,
    pub(crate) text: String,
}

/// The lines of one file, read as they are asked for.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    number: usize,
}

/// A file and a line number, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file; empty for a record that never was in one.
    pub path: PathBuf,
    /// Counted from 1; of a record that never was in a file its number, from 0.
    pub line: usize,
}

impl Place {
    /// A data error at this place: `FILE, line N: reason`.
    pub(crate) fn error(&self, reason: impl std::fmt::Display) -> Error {
        Error::data(format!("{self}: {reason}")).at(self)
    }

    /// The same of an error that does not know where it happened.
    pub(crate) fn within(&self, error: Error) -> Error {
        error.context(self).at(self)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_os_str().is_empty() {
            true => write!(f, "record {}", self.line),
            false => write!(f, "{}, line {}", self.path.display(), self.line),
        }
    }
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Lines> {
        let failed = |e| Error::io(path, e);
        let mut plain = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
        let gzip = plain.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn BufRead> = match gzip {
            true => Box::new(BufReader::with_capacity(
                1 << 16,
                MultiGzDecoder::new(plain),
            )),
            false => Box::new(plain),
        };
        let start = reader.fill_buf().map_err(|e| damaged(path, 1, e))?;
        if let Some(kind) = other_format(start) {
            return Err(Error::data(format!(
                "{}: this is {kind}; JSON Lines is needed: one object a line, in UTF-8",
                path.display()
            )));
        }
        if start.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
        Ok(Lines {
            path: path.to_owned(),
            reader,
            number: 0,
        })
    }

    /// The next line that is not blank, without its end.
    ///
    /// # Errors
    /// A line that is too long or not UTF-8, damaged gzip data, or a read error.
    pub(crate) fn next(&mut self) -> Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            self.number += 1;
            let read = (&mut self.reader)
                .take(MAX_LINE as u64 + 1)
                .read_until(b'\n', &mut bytes)
                .map_err(|e| damaged(&self.path, self.number, e))?;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_LINE {
                return Err(self
                    .place()
                    .error(format!("longer than {} MiB", MAX_LINE >> 20)));
            }
            while bytes
                .last()
                .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
            {
                bytes.pop();
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = String::from_utf8(bytes).map_err(|e| {
                let at = e.utf8_error().valid_up_to() + 1;
                self.place()
                    .error(format!("not UTF-8 (byte {at} of the line)"))
            })?;
            return Ok(Some(Line {
                number: self.number,
                text,
            }));
        }
    }

    /// Up to `count` lines, fewer when they are long; and why there are no more, if something is wrong.
    pub(super) fn chunk(&mut self, count: usize) -> (Vec<Line>, Option<Error>) {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < count && bytes < MAX_LINE / 4 {
            match self.next() {
                Ok(Some(line)) => {
                    bytes += line.text.len();
                    lines.push(line);
                }
                Ok(None) => break,
                Err(error) => return (lines, Some(error)),
            }
        }
        (lines, None)
    }

    fn place(&self) -> Place {
        Place {
            path: self.path.clone(),
            line: self.number,
        }
    }
}

/// What a file is that is evidently not JSON Lines.
fn other_format(start: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 6] = [
        (b"PAR1", "a Parquet file"),
        (b"ARROW1", "an Arrow file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    FORMATS
        .iter()
        .find(|(magic, _)| start.starts_with(magic))
        .map(|(_, kind)| *kind)
}

/// Damaged gzip data is the data's fault, anything else the operating system's.
fn damaged(path: &Path, line: usize, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            let path = path.to_owned();
            Place { path, line }.error(format!("gzip data is truncated or damaged ({error})"))
        }
        _ => Error::io(path, error),
    }
}
