//! Text: tokens, completions, log-probabilities.

use halo_core::data::Prompt;
use halo_core::generate::{Decoding, Sampling};
use halo_core::tokenizer::Tokenizer;
use halo_train::Which;

use super::rows::Rows;
use super::state::{Session, out_of_order, work};
use crate::failure::{Failure, Outcome};
use crate::intake::Watch;
use crate::settings;
use crate::status::*;

impl Session {
    pub(super) fn tokenize(&self, text: &str, continuation: bool) -> Outcome<Vec<u32>> {
        let tokenizer = self.tokenizer()?;
        Ok(match continuation {
            true => tokenizer.encode_continuation(text)?,
            false => tokenizer.encode_start(text)?,
        })
    }

    pub(super) fn generate(
        &mut self,
        prompt: &str,
        options: &str,
        watch: &Watch,
    ) -> Outcome<String> {
        let sampling: Sampling =
            settings::parse("options_json", options).map_err(|failure| failure.argument(3))?;
        sampling
            .check()
            .map_err(|error| Failure::from(error).argument(3))?;
        let (model, tokenizer) = (self.stage.model()?.model(), self.tokenizer()?);
        if model.decoder.config().score_head {
            let message = "this is a reward model: it scores, and writes no text";
            return Err(Failure::new(
                HALO_E_UNSUPPORTED,
                "session.generate",
                message,
            ));
        }
        let prompt = Prompt::text(tokenizer, "prompt", prompt)
            .map_err(|error| Failure::from(error).argument(1))?;
        let most = sampling.max_new_tokens as u64;
        watch.go_on(c"generate", 0, most)?;
        let (prompts, end) = ([prompt.tokens], tokenizer.stop_tokens());
        let mut decoding = work(|| Decoding::new(&model.decoder, &prompts, 0, end, &sampling))?;
        let mut stream = Stream::default();
        loop {
            let goes_on = work(|| decoding.step())?;
            let completion = &decoding.completions()[0];
            let text = tokenizer.decode(&completion.tokens, false)?;
            let piece = stream.piece(&text, !goes_on);
            if !piece.is_empty() {
                watch.text(piece)?;
            }
            if !goes_on {
                return Ok(text);
            }
            watch.go_on(c"generate", completion.tokens.len() as u64, most)?;
        }
    }

    pub(super) fn score(
        &mut self,
        rows: &Rows,
        reference: bool,
        by_token: bool,
    ) -> Outcome<Vec<f64>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ready = self.stage.model_mut()?;
        let config = ready.model().decoder.config();
        if config.score_head && by_token {
            let message = "this is a reward model: it has one score a row, and none a token";
            return Err(Failure::new(HALO_E_UNSUPPORTED, "session.score", message).argument(5));
        }
        let data = rows.dataset(config.vocab_size)?;
        let which = match reference {
            true => Which::Reference,
            false => Which::Policy,
        };
        let scores = work(|| ready.scores(&data, which))?;
        if !by_token {
            return Ok(scores.iter().map(|row| row.iter().sum()).collect());
        }
        let mut all = Vec::new();
        for (row, len) in scores.iter().zip(rows.lengths()) {
            // Context before what is scored.
            all.resize(all.len() + len - row.len(), 0.0);
            all.extend(row);
        }
        Ok(all)
    }

    fn tokenizer(&self) -> Outcome<&Tokenizer> {
        let ready = self.stage.model()?;
        ready.tokenizer().ok_or_else(|| {
            out_of_order("the model's folder has no tokenizer.json: it knows tokens only")
        })
    }
}

/// How much of a growing text was handed on.
#[derive(Default)]
struct Stream {
    sent: usize,
}

impl Stream {
    /// What is new and whole: a character may take several tokens, and stands as U+FFFD until the last of them.
    fn piece<'a>(&mut self, text: &'a str, last: bool) -> &'a str {
        let whole = match last {
            true => text,
            false => text.trim_end_matches('\u{FFFD}'),
        };
        // A decoder may take back a blank; what was sent stays sent.
        let piece = whole.get(self.sent..).unwrap_or_default();
        self.sent += piece.len();
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_characters_and_join_to_the_text() {
        let mut stream = Stream::default();
        let texts = ["a", "a\u{FFFD}", "a\u{FFFD}\u{FFFD}", "aé", "aéb\u{FFFD}"];
        let pieces: Vec<&str> = (0..texts.len())
            .map(|at| stream.piece(texts[at], at + 1 == texts.len()))
            .collect();
        assert_eq!(pieces, ["a", "", "", "é", "b\u{FFFD}"]);
    }
}
