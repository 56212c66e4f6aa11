//! Text to tokens and back, as `transformers` does it with the same folder: `tokenizer.json`, special tokens, chat template.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::{Error, Result};

mod clock;
mod json;
mod special;
mod template;

pub use clock::Day;
pub use template::{ChatTemplate, Extras};

use special::Special;

/// One chat message, as the data file has it: an object with `role`, `content` and whatever else the template reads.
pub type Message = Map<String, Value>;

/// A model folder's tokenizer. Cheap to share between threads; nothing in it changes after loading.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: Special,
    template: Option<ChatTemplate>,
    tool_template: Option<ChatTemplate>,
    vocab_size: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, and where they exist `tokenizer_config.json`, `special_tokens_map.json`, `config.json`,
    /// `generation_config.json` and `chat_template.jinja`.
    ///
    /// Truncation and padding that were saved in `tokenizer.json` are ignored: lengths are cut in one place only, by the data's
    /// options.
    ///
    /// # Errors
    /// No `tokenizer.json`; a file that is not what its name says; a special token that the vocabulary does not have; a chat
    /// template that does not compile, named with its line.
    pub fn load(folder: impl AsRef<Path>) -> Result<Tokenizer> {
        let folder = folder.as_ref();
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            return Err(Error::model(format!(
                "{}: tokenizer.json is missing; a model folder needs it unless the data holds token ids \
                 (prompt_ids, completion_ids)",
                folder.display()
            )));
        }
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let broken = |e: tokenizers::Error| Error::model(format!("{}: {e}", path.display()));
        check_decoder(&bytes).map_err(|e| broken(e.into()))?;
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes).map_err(broken)?;
        inner.with_truncation(None).map_err(broken)?;
        inner.with_padding(None);

        let files = special::Files::read(folder)?;
        // The template may write these tokens as text; transformers makes them whole, even where tokenizer.json does not.
        let known = files
            .token_names()
            .values()
            .filter(|content| inner.token_to_id(content).is_some())
            .map(|content| AddedToken::from(content.clone(), true))
            .collect::<Vec<_>>();
        inner.add_special_tokens(known).map_err(broken)?;

        let special = Special::resolve(&files, &inner)?;
        let (template, tool_template) = files.templates(folder)?;
        Ok(Tokenizer {
            vocab_size: inner
                .get_vocab(true)
                .into_values()
                .max()
                .map_or(0, |id| id as usize + 1),
            inner,
            special,
            template,
            tool_template,
        })
    }

    /// The tokens of a text, without any that the tokenizer adds around it.
    ///
    /// # Errors
    /// A text that the tokenizer cannot represent.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false).map_err(refused)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of a text that begins a sequence: with the tokens that the tokenizer puts before it (a bos, say), without
    /// those that it would put behind it, because the text is to be continued.
    ///
    /// # Errors
    /// A text that the tokenizer cannot represent.
    pub fn encode_start(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, true).map_err(refused)?;
        let added = encoding.get_special_tokens_mask();
        let behind = added.iter().rev().take_while(|mask| **mask == 1).count();
        // An empty text consists of added tokens only: those that also follow a text are the ones behind.
        let behind = match behind == added.len() {
            true => behind.min(self.added_behind()?),
            false => behind,
        };
        Ok(encoding.get_ids()[..added.len() - behind].to_vec())
    }

    /// The tokens of a text that goes on from another one: without the space that SentencePiece puts before a text's first word.
    ///
    /// # Errors
    /// A text that the tokenizer cannot represent.
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<u32>> {
        // A line end before the text takes that space, and joins with hardly anything.
        let start = self.encode("\n")?;
        let mut tokens = self.encode(&format!("\n{text}"))?;
        match tokens.starts_with(&start) {
            true => Ok(tokens.split_off(start.len())),
            false => self.encode(text),
        }
    }

    /// The text of tokens; special tokens such as `</s>` are left out unless `keep_special`.
    ///
    /// # Errors
    /// A tokenizer whose decoder refuses.
    pub fn decode(&self, tokens: &[u32], keep_special: bool) -> Result<String> {
        self.inner.decode(tokens, !keep_special).map_err(refused)
    }

    /// The id of one token, if the vocabulary has it.
    pub fn token(&self, content: &str) -> Option<u32> {
        self.inner.token_to_id(content)
    }

    /// The beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// The end-of-sequence token that training puts behind a completion.
    pub fn eos(&self) -> Option<u32> {
        self.special.eos
    }

    /// The padding token; halo packs without padding and only hands it on.
    pub fn pad(&self) -> Option<u32> {
        self.special.pad
    }

    /// The tokens that end a generation: the eos, and every one that `generation_config.json` or `config.json` names.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.special.stop
    }

    /// One more than the largest token id.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The chat template, if the folder has one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Makes templates that ask for today's date see this day: a run that resumes tomorrow needs the same prompts.
    #[must_use]
    pub fn with_day(mut self, day: Day) -> Tokenizer {
        self.template = self.template.map(|template| template.with_day(day));
        self.tool_template = self.tool_template.map(|template| template.with_day(day));
        self
    }

    /// The text of a conversation, by the chat template.
    ///
    /// # Errors
    /// No chat template in the folder; a template that refuses the conversation, with its own words.
    pub fn render(&self, messages: &[Message], extras: &Extras<'_>) -> Result<String> {
        let template = match (&self.tool_template, extras.tools) {
            (Some(template), Some(_)) => Some(template),
            _ => self.template.as_ref(),
        };
        let Some(template) = template else {
            return Err(Error::data(
                "the data is conversational, but the model folder has no chat template (chat_template in \
                 tokenizer_config.json, or chat_template.jinja); add one, or give prompt and completion as text",
            ));
        };
        template.render(messages, extras, &self.special.names)
    }

    fn added_behind(&self) -> Result<usize> {
        // Any text that is not itself a special token shows which added tokens come behind.
        let probe = self.inner.encode_fast("a", true).map_err(refused)?;
        let mask = probe.get_special_tokens_mask();
        Ok(mask.iter().rev().take_while(|mask| **mask == 1).count())
    }
}

/// The tokenizers crate panics on JSON that breaks off within its decoder.
fn check_decoder(bytes: &[u8]) -> serde_json::Result<()> {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(rename = "decoder")]
        _decoder: Option<serde_json::Value>,
    }
    serde_json::from_slice::<File>(bytes).map(|_| ())
}

fn refused(error: tokenizers::Error) -> Error {
    Error::data(format!("the tokenizer refuses the text: {error}"))
}
