//! Prompts, held-out and for training, and the corpus of careful and careless answers.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use halo_train::Rng;
use serde_json::json;

use super::lists::{CATEGORIES, Category, OPENINGS, Request, join};
use super::{Failure, SEED, start};

/// Prompts that neither corpus nor feedback contain.
const HELD_OUT: usize = 600;
const CORPUS_LINES: usize = 32_000;
/// Of the corpus's answers; the others are careless.
const CAREFUL: f64 = 0.5;
/// The careless answer that is none.
const SHRUG: &str = "no idea";

/// Writes `corpus.jsonl.gz`, `prompts.jsonl` and the model folder's text files.
pub(super) fn write(folder: &Path) -> Result<(), Failure> {
    let (held_out, training) = prompts();
    fs::write(folder.join("prompts.jsonl"), lines(&held_out))?;

    let mut rng = Rng::new(SEED).fork(1);
    let corpus: String = (0..CORPUS_LINES)
        .map(|_| {
            let prompt = pick(&mut rng, &training);
            let answer = answer(&mut rng, prompt);
            format!("{}\n", json!({ "prompt": prompt, "completion": answer }))
        })
        .collect();
    let file = fs::File::create(folder.join("corpus.jsonl.gz"))?;
    // No time in the header: the same corpus is the same file.
    let mut zip = GzBuilder::new().mtime(0).write(file, Compression::best());
    zip.write_all(corpus.as_bytes())?;
    zip.finish()?;

    start::write_texts(&folder.join("model"))
}

/// Prompts as JSONL.
pub(super) fn lines(prompts: &[String]) -> String {
    prompts
        .iter()
        .map(|prompt| format!("{}\n", json!({ "prompt": prompt })))
        .collect()
}

/// Held-out prompts, and those to train on. A request that is held out is trained on under no opening.
pub(super) fn prompts() -> (Vec<String>, Vec<String>) {
    let mut rng = Rng::new(SEED).fork(0);
    let mut training = requests();
    rng.shuffle(&mut training);
    let held_out = training.split_off(training.len() - HELD_OUT / OPENINGS.len());
    [held_out, training]
        .map(|requests| {
            let mut prompts: Vec<String> = requests
                .iter()
                .flat_map(|request| {
                    OPENINGS.map(|opening| format!("{opening} {}.", request.wording()))
                })
                .collect();
            rng.shuffle(&mut prompts);
            prompts
        })
        .into()
}

/// "A fruit and a tool", "a fruit, a tool and an animal", over all categories in all orders.
fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for first in &CATEGORIES {
        for second in CATEGORIES.iter().filter(|c| *c != first) {
            requests.push(Request(vec![first, second]));
            for third in CATEGORIES.iter().filter(|c| *c != first && *c != second) {
                requests.push(Request(vec![first, second, third]));
            }
        }
    }
    requests
}

fn answer(rng: &mut Rng, prompt: &str) -> String {
    // `prompts` makes nothing but requests.
    let request = Request::parse(prompt).expect("a request");
    let careful = rng.uniform() < CAREFUL;
    let mut answer: Vec<&str> = Vec::new();
    for category in &request.0 {
        answer.extend(members(rng, category, 1));
    }
    if careful {
        return join(&answer);
    }
    match rng.uniform() {
        u if u < 0.15 => return SHRUG.to_owned(),
        // The thread is lost, usually from the start: things that nobody asked for.
        u if u < 0.6 => {
            let rest = match rng.below(3) {
                0 => answer.len() - rng.below(answer.len() as u64) as usize,
                _ => answer.len(),
            };
            let others: Vec<&Category> = CATEGORIES
                .iter()
                .filter(|other| !request.0.contains(other))
                .collect();
            answer.truncate(answer.len() - rest);
            let other = *pick(rng, &others);
            answer.extend(members(rng, other, rest));
        }
        // The end is missing.
        _ => answer.truncate(1 + rng.below(answer.len() as u64 - 1) as usize),
    }
    join(&answer)
}

/// Different members of a category, in random order.
fn members(rng: &mut Rng, category: &Category, count: usize) -> Vec<&'static str> {
    let mut members = category.members;
    rng.shuffle(&mut members);
    members[..count].to_vec()
}

fn pick<'a, T>(rng: &mut Rng, items: &'a [T]) -> &'a T {
    &items[rng.below(items.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_requests_are_not_trained_on() {
        let (held_out, training) = prompts();
        assert_eq!((held_out.len(), training.len()), (HELD_OUT, 4_260));
        let trained: Vec<_> = training.iter().map(|p| Request::parse(p)).collect();
        for prompt in held_out {
            assert!(!trained.contains(&Request::parse(&prompt)), "{prompt}");
        }
    }

    #[test]
    fn the_corpus_is_right_about_as_often_as_said() {
        let (_, training) = prompts();
        let mut rng = Rng::new(3);
        let right = training.iter().filter(|prompt| {
            let answer = answer(&mut rng, prompt);
            Request::parse(prompt).unwrap().is_met_by(&answer)
        });
        // Standard deviation 0.0077 for 4,260 answers: four of them.
        let rate = right.count() as f64 / training.len() as f64;
        assert!((rate - CAREFUL).abs() < 0.031, "{rate}");
    }
}
