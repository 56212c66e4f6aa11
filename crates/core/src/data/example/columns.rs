//! Numbers beside a completion: what it is worth, how much it counts, how probable it was when it was sampled.

use serde_json::Value;

use super::field::shown;
use super::{Answers, Content, Line};

/// What a line says of one completion beyond its label.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::data) struct Columns {
    /// A reward or rating.
    pub(in crate::data) score: Option<f64>,
    /// Multiplies the example's loss.
    pub(in crate::data) weight: f64,
    /// The example's β in units of the loss's.
    pub(in crate::data) beta_scale: f64,
    /// One per scored token; empty if not given.
    pub(in crate::data) old_logps: Vec<f64>,
}

impl Default for Columns {
    fn default() -> Columns {
        Columns {
            score: None,
            weight: 1.0,
            beta_scale: 1.0,
            old_logps: Vec::new(),
        }
    }
}

/// The form of line that a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    One,
    Pair,
    List,
}

impl Form {
    fn words(self) -> &'static str {
        match self {
            Form::One => "a line with one completion",
            Form::Pair => "a line with `chosen` and `rejected`",
            Form::List => "a line with `completions`",
        }
    }
}

/// The columns of each completion of a line, in the order of its completions.
///
/// # Errors
/// A key of another form of line, a value that is no such number, lists of other lengths.
pub(super) fn columns(
    line: &Line,
    prompt: Option<&Content>,
    answers: &Answers,
) -> Result<Vec<Columns>, String> {
    check_form(line, answers)?;
    let shared = Columns {
        weight: number("weight", line.weight.as_ref(), NOT_NEGATIVE)?.unwrap_or(1.0),
        beta_scale: number("beta_scale", line.beta_scale.as_ref(), POSITIVE)?.unwrap_or(1.0),
        ..Columns::default()
    };
    let logps = |name: &str, value: &Option<Value>, answer: &Content| match value {
        None => Ok(Vec::new()),
        Some(value) => logps(name, value, prompt, answer),
    };
    match answers {
        Answers::Plain(answer) | Answers::Labelled(answer, _) => Ok(vec![Columns {
            score: number("score", line.score.as_ref(), ANY)?,
            old_logps: logps("old_logps", &line.old_logps, answer)?,
            ..shared
        }]),
        Answers::Pair { chosen, rejected } => {
            let [better, worse] = pair_scores(line)?;
            let (first, second) = (&line.chosen_old_logps, &line.rejected_old_logps);
            if first.is_some() != second.is_some() {
                return Err(together("chosen_old_logps", "rejected_old_logps"));
            }
            Ok(vec![
                Columns {
                    score: better,
                    old_logps: logps("chosen_old_logps", first, chosen)?,
                    ..shared.clone()
                },
                Columns {
                    score: worse,
                    old_logps: logps("rejected_old_logps", second, rejected)?,
                    ..shared
                },
            ])
        }
        Answers::List(answers) => {
            let scores = match &line.scores {
                None => vec![None; answers.len()],
                Some(scores) => numbers("scores", scores)?.into_iter().map(Some).collect(),
            };
            if scores.len() != answers.len() {
                return Err(format!(
                    "`scores` has {} numbers for {} `completions`; give one for each",
                    scores.len(),
                    answers.len()
                ));
            }
            let one = |score| Columns {
                score,
                ..shared.clone()
            };
            Ok(scores.into_iter().map(one).collect())
        }
    }
}

/// # Errors
/// A key that says nothing about this form of line: what it was meant for is not guessed.
fn check_form(line: &Line, answers: &Answers) -> Result<(), String> {
    let form = match answers {
        Answers::Plain(_) | Answers::Labelled(..) => Form::One,
        Answers::Pair { .. } => Form::Pair,
        Answers::List(_) => Form::List,
    };
    let keys = [
        ("score", &line.score, Form::One),
        ("old_logps", &line.old_logps, Form::One),
        ("chosen_score", &line.chosen_score, Form::Pair),
        ("rejected_score", &line.rejected_score, Form::Pair),
        ("score_chosen", &line.score_chosen, Form::Pair),
        ("score_rejected", &line.score_rejected, Form::Pair),
        ("chosen_old_logps", &line.chosen_old_logps, Form::Pair),
        ("rejected_old_logps", &line.rejected_old_logps, Form::Pair),
        ("scores", &line.scores, Form::List),
    ];
    match keys
        .iter()
        .find(|(_, value, wanted)| value.is_some() && *wanted != form)
    {
        None => Ok(()),
        Some((name, _, wanted)) => Err(format!(
            "`{name}` belongs to {}, and this is {}{}",
            wanted.words(),
            form.words(),
            match (*wanted, form) {
                (Form::One, Form::Pair) => format!(": give `chosen_{name}` and `rejected_{name}`"),
                _ => String::new(),
            }
        )),
    }
}

/// `chosen_score` and `rejected_score`, or as TRL and UltraFeedback call them.
fn pair_scores(line: &Line) -> Result<[Option<f64>; 2], String> {
    let one = |(ours, value): (&str, &Option<Value>), (theirs, other): (&str, &Option<Value>)| {
        if value.is_some() && other.is_some() {
            return Err(format!("`{ours}` and `{theirs}` are both there; give one"));
        }
        Ok(match number(ours, value.as_ref(), ANY)? {
            None => number(theirs, other.as_ref(), ANY)?,
            given => given,
        })
    };
    let scores = [
        one(
            ("chosen_score", &line.chosen_score),
            ("score_chosen", &line.score_chosen),
        )?,
        one(
            ("rejected_score", &line.rejected_score),
            ("score_rejected", &line.score_rejected),
        )?,
    ];
    match scores {
        [Some(_), None] | [None, Some(_)] => Err(together("chosen_score", "rejected_score")),
        _ => Ok(scores),
    }
}

fn together(one: &str, other: &str) -> String {
    format!("give both `{one}` and `{other}`, or neither")
}

/// Numbers that a key allows, and how to say so.
type Allowed = (fn(f64) -> bool, &'static str);
const ANY: Allowed = (|_| true, "a number");
const NOT_NEGATIVE: Allowed = (|x| x >= 0.0, "a number of 0 or more");
const POSITIVE: Allowed = (|x| x > 0.0, "a number above 0");

fn number(
    name: &str,
    value: Option<&Value>,
    (allows, what): Allowed,
) -> Result<Option<f64>, String> {
    let Some(value) = value else { return Ok(None) };
    match value
        .as_f64()
        .filter(|number| number.is_finite() && allows(*number))
    {
        Some(number) => Ok(Some(number)),
        None => Err(format!("`{name}` must be {what}, not {}", shown(value))),
    }
}

fn numbers(name: &str, value: &Value) -> Result<Vec<f64>, String> {
    let Value::Array(items) = value else {
        return Err(format!(
            "`{name}` must be a list of numbers, not {}",
            shown(value)
        ));
    };
    let read = |(index, item): (usize, &Value)| {
        let number = item.as_f64().filter(|number| number.is_finite());
        number.ok_or_else(|| {
            let place = index + 1;
            format!(
                "entry {place} of `{name}` must be a number, not {}",
                shown(item)
            )
        })
    };
    items.iter().enumerate().map(read).collect()
}

/// Log-probabilities at sampling time, one for each token that is scored.
fn logps(
    name: &str,
    value: &Value,
    prompt: Option<&Content>,
    answer: &Content,
) -> Result<Vec<f64>, String> {
    let Content::Tokens(tokens) = answer else {
        return Err(format!(
            "`{name}` needs token ids (prompt_ids, completion_ids): log-probabilities belong to tokens"
        ));
    };
    let logps = numbers(name, value)?;
    // After an empty prompt the first token is context.
    let context = match prompt {
        Some(Content::Tokens(prompt)) => usize::from(prompt.is_empty()),
        _ => 1,
    };
    let scored = tokens.len().saturating_sub(context);
    if logps.len() != scored {
        return Err(format!(
            "`{name}` has {} numbers for {scored} scored tokens; give one for each",
            logps.len()
        ));
    }
    match logps.iter().find(|logp| **logp > 0.0) {
        Some(logp) => Err(format!(
            "`{name}` holds {logp}; a log-probability is at most 0"
        )),
        None => Ok(logps),
    }
}
