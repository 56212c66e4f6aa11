//! Data as it is: every judgement of every line, before a loss is chosen that says what it reads.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use halo_loss::Label;
use halo_train::Record;

use super::collect::{Marks, default_id};
use super::encode::{Answer, Border, Encoded, Encoder};
use super::example::{Answers, Columns, Content, Example};
use super::limits::Cut;
use super::lines::Place;
use super::{Boundary, Limits, Source, read};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// What a line says of one completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Number of the line, over all files, that first has this prompt.
    pub prompt: u64,
    /// Equal for equal completions.
    pub completion: u64,
    /// As given, or the side of a pair; `None` where nothing was said.
    pub label: Option<Label>,
    /// A reward or rating.
    pub score: Option<f64>,
    /// The pair that it is one half of, as an index into [`AsIs::overlaps`].
    pub pair: Option<u32>,
    /// Whether a limit shortened it.
    pub truncated: bool,
    /// The completion as tokens. Without a tokenizer a token stands for a word between blanks, and is its hash.
    pub record: Record,
}

/// A data set as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AsIs {
    /// Lines read.
    pub lines: usize,
    /// What they say, in their order; the chosen of a pair before its rejected.
    pub judgements: Vec<Judgement>,
    /// Left out: completions in which nothing was written, or pairs with one.
    pub empty: usize,
    /// Left out: completions of which a limit leaves nothing, or pairs with one.
    pub lost: usize,
    /// Of each pair how much its completions share: 2·|common tokens| / |all tokens|, as multisets.
    pub overlaps: Vec<f64>,
}

/// Reads data files of any shape, even of several shapes. Without a tokenizer words are counted instead of tokens, and no limit
/// cuts.
///
/// # Errors
/// As [`super::load`], but for what only a loss can miss.
pub fn load_as_is<P: AsRef<Path>>(
    files: &[P],
    tokenizer: Option<&Tokenizer>,
    limits: Limits,
) -> Result<AsIs> {
    if files.is_empty() {
        return Err(Error::parameter("no data files are given").with_argument("data"));
    }
    let sources: Vec<Source> = files
        .iter()
        .map(|path| Source::File(path.as_ref()))
        .collect();
    look_at(&sources, tokenizer, limits)
}

pub(super) fn look_at(
    sources: &[Source],
    tokenizer: Option<&Tokenizer>,
    limits: Limits,
) -> Result<AsIs> {
    limits.check()?;
    let encoder = Encoder {
        tokenizer,
        boundary: Boundary::default(),
        keep_texts: false,
    };
    let encode = |example: Example| match tokenizer {
        Some(_) => encoder.encode(example),
        None if matches!(example.prompt, Some(Content::Tokens(_))) => encoder.encode(example),
        None => Ok(by_words(example)),
    };
    let mut reading = Reading {
        limits: tokenizer.map_or(Limits::default(), |_| limits),
        bos: tokenizer.and_then(Tokenizer::bos),
        ..Reading::default()
    };
    for source in sources {
        read(*source, encode, |place, example| {
            reading.push(&place, example)
        })?;
    }
    Ok(reading.data)
}

#[derive(Default)]
struct Reading {
    limits: Limits,
    bos: Option<u32>,
    marks: Marks,
    /// The line that first has a prompt, by the prompt's hash.
    prompts: HashMap<u64, u64>,
    data: AsIs,
}

impl Reading {
    fn push(&mut self, place: &Place, mut example: Encoded) -> Result<()> {
        self.marks.check(place, example.mark)?;
        self.data.lines += 1;
        let line = self.data.lines as u64;
        let prompt = *self.prompts.entry(hash(&example.prompt)).or_insert(line);
        self.limits.cut_prompt(&mut example.prompt, self.bos);
        let id = example.id.clone().unwrap_or_else(|| default_id(place));
        let listed = example.listed;
        let mark = example.mark.map(|mark| mark.label);
        let mut judged = Vec::with_capacity(example.answers.len());
        for (number, answer) in example.answers.into_iter().enumerate() {
            let id = match answer.side {
                Some(Label::Desirable) => format!("{id}/chosen"),
                Some(Label::Undesirable) => format!("{id}/rejected"),
                None if listed => format!("{id}/{}", number + 1),
                None => id.clone(),
            };
            let paired = answer.side.is_some();
            match self.judgement(id, prompt, &example.prompt, answer, mark) {
                Some(judgement) => judged.push((judgement, paired)),
                // half a pair is none
                None if paired => return Ok(()),
                None => {}
            }
        }
        if let [(chosen, true), (rejected, true)] = judged.as_mut_slice() {
            let pair = self.data.overlaps.len() as u32;
            (chosen.pair, rejected.pair) = (Some(pair), Some(pair));
            let shared = overlap(&chosen.record.completion, &rejected.record.completion);
            self.data.overlaps.push(shared);
        }
        let judged = judged.into_iter().map(|(judgement, _)| judgement);
        self.data.judgements.extend(judged);
        Ok(())
    }

    /// Nothing, and counted, where nothing of the completion is there to be scored.
    fn judgement(
        &mut self,
        id: String,
        prompt: u64,
        context: &[u32],
        mut answer: Answer,
        mark: Option<Label>,
    ) -> Option<Judgement> {
        // Without a prompt the first token is context.
        let least = usize::from(context.is_empty());
        if answer.empty || answer.tokens.len() <= least {
            self.data.empty += 1;
            return None;
        }
        let completion = hash(&answer.tokens);
        let cut = self
            .limits
            .cut_completion(context.len(), &mut answer.tokens);
        if answer.tokens.len() <= least {
            self.data.lost += 1;
            return None;
        }
        let label = answer.side.or(mark);
        answer
            .columns
            .old_logps
            .truncate(answer.tokens.len() - least);
        Some(Judgement {
            prompt,
            completion,
            label,
            score: answer.columns.score,
            pair: None,
            truncated: cut == Cut::Shortened,
            record: Record {
                id,
                prompt: context.to_vec(),
                completion: answer.tokens,
                label: label.unwrap_or(Label::Desirable),
                score: answer.columns.score,
                weight: answer.columns.weight,
                beta_scale: answer.columns.beta_scale,
                old_logps: answer.columns.old_logps,
                ..Record::default()
            },
        })
    }
}

/// An example whose tokens are hashes of its words.
fn by_words(example: Example) -> Encoded {
    let listed = matches!(example.answers, Answers::List(_));
    let (sides, mark) = match example.answers {
        Answers::Plain(answer) => (vec![(answer, None)], None),
        Answers::Labelled(answer, mark) => (vec![(answer, None)], Some(mark)),
        Answers::Pair { chosen, rejected } => (
            vec![
                (chosen, Some(Label::Desirable)),
                (rejected, Some(Label::Undesirable)),
            ],
            None,
        ),
        Answers::List(answers) => (
            answers.into_iter().map(|answer| (answer, None)).collect(),
            None,
        ),
    };
    let mut prompt = example.prompt.as_ref().map(words).unwrap_or_default();
    if prompt.is_empty() {
        // a word of its own for the beginning, so that a completion of one word counts
        prompt.push(0);
    }
    let answer = |((content, side), columns): ((Content, Option<Label>), Columns)| {
        let tokens = words(&content);
        Answer {
            empty: tokens.is_empty(),
            tokens,
            text: String::new(),
            side,
            columns,
        }
    };
    Encoded {
        id: example.id,
        prompt,
        prompt_text: "".into(),
        answers: sides.into_iter().zip(example.columns).map(answer).collect(),
        listed,
        mark,
        border: Border::Clean,
    }
}

fn words(content: &Content) -> Vec<u32> {
    let split = |text: &str| -> Vec<u32> {
        let words = text.split_whitespace();
        words.map(|word| hash(word) as u32).collect()
    };
    match content {
        Content::Text(text) => split(text),
        Content::Tokens(tokens) => tokens.clone(),
        Content::Chat(messages) => {
            let texts = messages.iter().map(|message| match message.get("content") {
                Some(serde_json::Value::String(text)) => split(text),
                Some(parts) => split(&parts.to_string()),
                None => Vec::new(),
            });
            texts.flatten().collect()
        }
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Dice's coefficient of two multisets, 0 to 1.
fn overlap(a: &[u32], b: &[u32]) -> f64 {
    let mut left: HashMap<u32, usize> = HashMap::new();
    a.iter()
        .for_each(|token| *left.entry(*token).or_default() += 1);
    let mut common = 0;
    for token in b {
        if let Some(count) = left.get_mut(token).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    2.0 * f64::from(common) / (a.len() + b.len()) as f64
}
