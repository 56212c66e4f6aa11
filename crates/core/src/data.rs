//! Data files to records: JSON Lines in the shapes that the field uses, tokenised once, immutable from then on.
//!
//! | shape | keys | |
//! |---|---|---|
//! | unpaired | `prompt`, `completion`, `label` | label: `true`/`false`, `1`/`0` or `1`/`-1` |
//! | | `messages` (or `completion`), `kto_tag` | the last message is the completion |
//! | preference | `prompt`, `chosen`, `rejected` | without `prompt`: the beginning that both share |
//! | scored | `prompt`, `completion`, `score` | for losses over groups; several lines share a prompt |
//! | | `prompt`, `completions`, `scores` | lists: several completions of one prompt |
//! | demonstration | `prompt`, `completion`, or `messages`, or `text` | for losses that need no label |
//! | token ids | `prompt_ids`, `completion_ids`, `label` | or `chosen_ids`, `rejected_ids`; no tokenizer, no added eos |
//!
//! Beside them, for a loss that reads them: `score` (of pairs `chosen_score` and `rejected_score`), `weight`, `beta_scale` and,
//! with token ids, `old_logps`.
//!
//! `prompt` and completions are text, or both lists of messages (`role`, `content`) for the chat template, with optional
//! `tools` and `chat_template_kwargs`. `id` is optional; other keys are ignored. Files are plain or gzip, by content.
//!
//! A line that is wrong stops the load and is named: `FILE, line N: reason`. Nothing is skipped, guessed or repaired; what
//! limits cut and what has no completion is counted in the [`Report`].
//!
//! Tokens are TRL 1.16's: text is tokenised in one piece (with the tokens that the tokenizer puts before a sequence) and gets
//! the eos unless it ends with it; a conversation is rendered by its template, which writes every special token, the prompt with
//! the header of the assistant's turn. The prompt's own tokens are always a prefix of the sequence; see [`Boundary`] for the
//! rare tokenizer that joins the border.

use std::path::Path;
use std::sync::Arc;

use halo_loss::DataShape;
use halo_train::Dataset;
use rayon::prelude::*;

use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

mod as_is;
mod collect;
mod control;
mod encode;
mod example;
mod held;
mod limits;
mod lines;
mod prompts;
mod report;

pub use as_is::{AsIs, Judgement, load_as_is};
pub use control::Control;
pub use encode::Boundary;
pub use held::{HeldLine, check_line, hold, load_held, look_at_held};
pub use limits::{Keep, Limits};
pub use prompts::{Prompt, load_prompts};
pub use report::Report;

use collect::Collector;
use encode::{Encoded, Encoder};
use example::Example;
pub(crate) use example::field::object;
use lines::Line;
pub(crate) use lines::Lines;
pub use lines::Place;

/// Lines that are tokenised at a time, over all threads.
const CHUNK: usize = 1024;

/// How data is read.
#[derive(Clone, Debug, PartialEq)]
pub struct DataOptions {
    /// What the loss needs. Preferences serve an unpaired loss as chosen, rejected, chosen, rejected, …
    pub shape: DataShape,
    /// Lengths in tokens.
    pub limits: Limits,
    /// Keep one completion per prompt, of alternating label.
    pub one_y_per_x: bool,
    /// Where completions begin.
    pub boundary: Boundary,
    /// Accept data in which every completion is desirable, or every one undesirable, for an unpaired loss.
    pub allow_one_class: bool,
    /// The model's vocabulary: tokens outside of it are errors.
    pub vocab_size: Option<usize>,
    /// Keep the texts beside the tokens, for records that people read.
    pub keep_texts: bool,
    /// A completion without a label is desirable if its score is at least this, else undesirable.
    pub score_threshold: Option<f64>,
    /// Texts for the label between prompt and completion.
    pub control: Option<Control>,
}

impl DataOptions {
    /// Everything at its default, for this shape.
    pub fn new(shape: DataShape) -> DataOptions {
        DataOptions {
            shape,
            limits: Limits::default(),
            one_y_per_x: false,
            boundary: Boundary::default(),
            allow_one_class: false,
            vocab_size: None,
            keep_texts: true,
            score_threshold: None,
            control: None,
        }
    }
}

impl DataOptions {
    /// # Errors
    /// Limits that leave no room; options that say nothing about data of this shape.
    fn check(&self) -> Result<()> {
        self.limits.check()?;
        match (self.shape, self.score_threshold) {
            (DataShape::Paired, Some(threshold)) => Err(Error::parameter(format!(
                "score_threshold = {threshold} makes labels of scores, and this loss compares pairs"
            ))
            .with_argument("score_threshold")),
            (_, Some(threshold)) if !threshold.is_finite() => Err(Error::parameter(format!(
                "score_threshold = {threshold}; allowed: a finite number"
            ))
            .with_argument("score_threshold")),
            (DataShape::Grouped, _) if self.one_y_per_x => Err(Error::parameter(
                "one_y_per_x keeps one completion of each prompt, and this loss compares several",
            )
            .with_argument("one_y_per_x")),
            _ => Ok(()),
        }
    }
}

/// Data, ready to train on.
#[derive(Debug)]
pub struct Loaded {
    /// Records and units, in the order of the files.
    pub dataset: Dataset,
    /// The text of each record; empty strings where none was kept.
    pub texts: Vec<Text>,
    /// What was read, cut and dropped.
    pub report: Report,
}

/// A record's text: for a conversation as its template renders it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The prompt; both completions of a preference share it.
    pub prompt: Arc<str>,
    /// The completion, without the eos that is added to plain text.
    pub completion: String,
}

/// Reads data files, in their order, and tokenises them on all threads. Without a tokenizer only token ids can be read.
///
/// # Errors
/// A file that cannot be read or has no records; a line that is wrong, named by number; data that the loss cannot use; limits
/// that leave nothing; labels that are all alike for an unpaired loss.
pub fn load<P: AsRef<Path>>(
    files: &[P],
    tokenizer: Option<&Tokenizer>,
    options: &DataOptions,
) -> Result<Loaded> {
    let sources: Vec<Source> = files
        .iter()
        .map(|path| Source::File(path.as_ref()))
        .collect();
    load_all(&sources, tokenizer, options)
}

/// Where lines are.
#[derive(Clone, Copy)]
enum Source<'a> {
    File(&'a Path),
    Held(&'a [HeldLine]),
}

impl Source<'_> {
    /// For reports.
    fn name(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Held(_) => "records".into(),
        }
    }
}

fn load_all(
    sources: &[Source],
    tokenizer: Option<&Tokenizer>,
    options: &DataOptions,
) -> Result<Loaded> {
    options.check()?;
    let control = options.control.as_ref();
    let controls = control
        .map(|control| control.encode(tokenizer, options))
        .transpose()?;
    if sources.is_empty() {
        return Err(Error::parameter("no data files are given").with_argument("data"));
    }
    let mut collector = Collector::new(
        options,
        tokenizer.and_then(Tokenizer::bos),
        tokenizer.map_or(&[], Tokenizer::stop_tokens),
        controls,
        sources.iter().map(Source::name).collect(),
    );
    let encoder = Encoder {
        tokenizer,
        boundary: options.boundary,
        keep_texts: options.keep_texts,
    };
    let encode = |example| encoder.encode(example);
    for source in sources {
        read(*source, encode, |place, example| {
            collector.push(place, example)
        })?;
    }
    collector.finish()
}

/// Encodes lines on all threads; `push` takes them in their order.
fn read(
    source: Source,
    encode: impl Fn(Example) -> Result<Encoded> + Sync,
    push: impl FnMut(Place, Encoded) -> Result<()>,
) -> Result<()> {
    match source {
        Source::File(path) => read_file(path, encode, push),
        Source::Held(lines) => held::read(lines, encode, push),
    }
}

fn read_file(
    path: &Path,
    encode: impl Fn(Example) -> Result<Encoded> + Sync,
    mut push: impl FnMut(Place, Encoded) -> Result<()>,
) -> Result<()> {
    let mut lines = Lines::open(path)?;
    let mut any = false;
    loop {
        let (chunk, broken) = lines.chunk(CHUNK);
        let last = chunk.is_empty();
        any |= !last;
        let encoded: Vec<_> = chunk
            .into_par_iter()
            .map(|Line { number, text }| {
                let path = path.to_owned();
                let place = Place { path, line: number };
                encode_line(place, &text, &encode)
            })
            .collect();
        for example in encoded {
            let (place, example) = example?;
            push(place, example)?;
        }
        // Only now: lines before a broken one show their own errors first.
        if let Some(error) = broken {
            return Err(error);
        }
        if last {
            break;
        }
    }
    match any {
        true => Ok(()),
        false => Err(Error::data(format!(
            "{}: no records: the file is empty",
            path.display()
        ))),
    }
}

fn encode_line(
    place: Place,
    text: &str,
    encode: impl Fn(Example) -> Result<Encoded>,
) -> Result<(Place, Encoded)> {
    let example = example::parse(text).map_err(|reason| place.error(reason))?;
    match encode(example) {
        Ok(encoded) => Ok((place, encoded)),
        Err(error) => Err(place.within(error)),
    }
}
