//! Which completions of a line the loss can use, each with its label and, where the loss reads scores, its score.

use halo_loss::{DataShape, Label};

use super::Collector;
use crate::Result;
use crate::data::encode::{Answer, Encoded};
use crate::data::example::Mark;
use crate::data::lines::Place;

impl Collector<'_> {
    /// The completions that the loss can use, each with its label.
    ///
    /// # Errors
    /// A shape that the loss cannot use, no judgement where it needs one, 0 and −1 as labels of one data set.
    pub(super) fn judge(
        &mut self,
        place: &Place,
        example: &mut Encoded,
    ) -> Result<Vec<(Answer, Label)>> {
        let answers = std::mem::take(&mut example.answers);
        self.marks.check(place, example.mark)?;
        let mark = example.mark.map(|mark| mark.label);
        let paired = answers.iter().all(|answer| answer.side.is_some());
        if self.options.shape == DataShape::Paired && !paired {
            return Err(place.error(
                "this loss compares two completions of one prompt: give `prompt`, `chosen`, `rejected`, or choose a \
                 loss for labelled completions (see halo losses)",
            ));
        }
        let mut wanted = Vec::with_capacity(answers.len());
        for mut answer in answers {
            let said = answer
                .side
                .or(mark)
                .or_else(|| self.above_threshold(answer.columns.score));
            let label = match self.options.shape {
                DataShape::Paired | DataShape::Unpaired => {
                    said.ok_or_else(|| place.error(no_label(answer.columns.score)))?
                }
                DataShape::Grouped => {
                    let score = self.score(place, answer.columns.score, said)?;
                    answer.columns.score = Some(score);
                    said.unwrap_or(label_of(score > 0.0))
                }
                // Demonstrations: the chosen one of a pair, and what is not judged undesirable.
                DataShape::Any if said == Some(Label::Undesirable) => {
                    self.report.dropped_undesirable += 1;
                    continue;
                }
                DataShape::Any => Label::Desirable,
            };
            wanted.push((answer, label));
        }
        Ok(wanted)
    }

    /// The score of a completion for a loss that compares scores: ±1 by its label where the data gives none.
    fn score(&mut self, place: &Place, given: Option<f64>, said: Option<Label>) -> Result<f64> {
        match (given, said) {
            (Some(score), _) => Ok(score),
            (None, Some(label)) => {
                self.report.derived_scores += 1;
                Ok(label.sign())
            }
            (None, None) => Err(place.error(
                "`score` is missing: this loss compares the scored completions of a prompt; give `score` (or `label`, which \
                 then counts as 1 or -1), or `completions` with `scores`",
            )),
        }
    }

    fn above_threshold(&self, score: Option<f64>) -> Option<Label> {
        let (score, threshold) = (score?, self.options.score_threshold?);
        Some(label_of(score >= threshold))
    }
}

/// How undesirable was written so far.
#[derive(Default)]
pub(in crate::data) struct Marks {
    /// Where 0 and −1 were first read as a label.
    zero: Option<Place>,
    minus: Option<Place>,
}

impl Marks {
    /// # Errors
    /// 0 and −1 as labels of one data set.
    pub(in crate::data) fn check(&mut self, place: &Place, mark: Option<Mark>) -> Result<()> {
        match mark.and_then(|mark| mark.number) {
            Some(0) if self.zero.is_none() => self.zero = Some(place.clone()),
            Some(-1) if self.minus.is_none() => self.minus = Some(place.clone()),
            _ => {}
        }
        match (&self.zero, &self.minus) {
            (Some(zero), Some(minus)) => Err(place.error(format!(
                "labels 0 ({zero}) and -1 ({minus}) in one data set: is 0 undesirable, or neutral?"
            ))),
            _ => Ok(()),
        }
    }
}

fn label_of(desirable: bool) -> Label {
    match desirable {
        true => Label::Desirable,
        false => Label::Undesirable,
    }
}

fn no_label(score: Option<f64>) -> &'static str {
    match score {
        None => "`label` is missing",
        Some(_) => {
            "`label` is missing; score_threshold makes labels of scores: at least that much is desirable"
        }
    }
}
