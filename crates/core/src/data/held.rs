//! Lines in memory, for hosts that hand their records over one by one, or before the tokenizer is known.

use std::path::Path;

use rayon::prelude::*;

use super::as_is::{AsIs, look_at};
use super::encode::Encoded;
use super::example::{self, Example};
use super::lines::Lines;
use super::{CHUNK, DataOptions, Limits, Loaded, Place, Source, encode_line, load_all};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// A line of data, and the place that errors name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLine {
    /// Where it is from.
    pub place: Place,
    /// One JSON object, in any shape that a file may have.
    pub text: String,
}

/// The lines of a file, each of a known shape, as they are.
///
/// # Errors
/// A file that cannot be read or has no records; a line that is wrong, named by number.
pub fn hold(path: &Path) -> Result<Vec<HeldLine>> {
    let mut lines = Lines::open(path)?;
    let mut held = Vec::new();
    while let Some(line) = lines.next()? {
        let place = Place {
            path: path.to_owned(),
            line: line.number,
        };
        let text = line.text;
        check_line(&text).map_err(|reason| place.error(reason))?;
        held.push(HeldLine { place, text });
    }
    match held.is_empty() {
        true => {
            let message = format!("{}: no records: the file is empty", path.display());
            Err(Error::data(message))
        }
        false => Ok(held),
    }
}

/// Whether a line has one of the known shapes.
///
/// # Errors
/// The reason why not, without its place.
pub fn check_line(text: &str) -> Result<(), String> {
    example::parse(text).map(|_| ())
}

/// [`load`](super::load) of lines in memory.
///
/// # Errors
/// As [`load`](super::load); [`Error::place`] says which line.
pub fn load_held(
    lines: &[HeldLine],
    tokenizer: Option<&Tokenizer>,
    options: &DataOptions,
) -> Result<Loaded> {
    load_all(&[Source::Held(lines)], tokenizer, options)
}

/// [`load_as_is`](super::load_as_is) of lines in memory.
///
/// # Errors
/// As [`load_as_is`](super::load_as_is).
pub fn look_at_held(
    lines: &[HeldLine],
    tokenizer: Option<&Tokenizer>,
    limits: Limits,
) -> Result<AsIs> {
    look_at(&[Source::Held(lines)], tokenizer, limits)
}

pub(super) fn read(
    lines: &[HeldLine],
    encode: impl Fn(Example) -> Result<Encoded> + Sync,
    mut push: impl FnMut(Place, Encoded) -> Result<()>,
) -> Result<()> {
    for chunk in lines.chunks(CHUNK) {
        let encoded: Vec<_> = chunk
            .par_iter()
            .map(|line| encode_line(line.place.clone(), &line.text, &encode))
            .collect();
        for example in encoded {
            let (place, example) = example?;
            push(place, example)?;
        }
    }
    match lines.is_empty() {
        true => Err(Error::data("no records: the data set is empty")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use halo_loss::DataShape;

    use super::*;
    use crate::data::{load, load_as_is};

    #[test]
    fn lines_in_memory_are_read_as_their_file_is() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/fixtures/trl/kto.jsonl"
        );
        let lines = hold(Path::new(path)).unwrap();
        let options = DataOptions::new(DataShape::Unpaired);
        let held = load_held(&lines, None, &options).unwrap().dataset;
        let read = load(&[path], None, &options).unwrap().dataset;
        assert_eq!((held.records, held.units), (read.records, read.units));
        let held = look_at_held(&lines, None, Limits::default()).unwrap();
        let read = load_as_is(&[path], None, Limits::default()).unwrap();
        assert_eq!(held, read);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_place() {
        let line = |number: usize, text: &str| HeldLine {
            place: Place {
                path: PathBuf::new(),
                line: number,
            },
            text: text.into(),
        };
        let good = "{\"prompt_ids\": [1], \"completion_ids\": [2], \"label\": true}";
        let lines = [line(4, good), line(5, "{\"prompt_ids\": [1]}")];
        let options = DataOptions::new(DataShape::Unpaired);
        let error = load_held(&lines, None, &options).unwrap_err();
        assert_eq!(error.place(), Some(&lines[1].place));
        let said = error.to_string();
        assert!(said.starts_with("record 5: `completion_ids`"), "{said}");
        assert!(load_held(&[], None, &options).unwrap_err().is_data());
    }
}
