//! Thumbs up and down on a model's answers, as people would give them: more of one kind, and some by mistake.

use halo_train::Rng;
use serde_json::{Value, json};

use super::lists::Request;
use super::{Failure, SEED};

/// Right answers that are praised; people report faults more readily.
const PRAISE: usize = 600;
/// Wrong answers that are reported.
const REPORTS: usize = 3_000;
/// Share of labels, of either kind, that are the wrong way round.
const SLIPS: f64 = 0.035;

/// Labels a sample of answers: JSONL with `prompt` and `completion` in, the same with `label` out.
pub(super) fn label(answers: &str) -> Result<String, Failure> {
    let mut rng = Rng::new(SEED).fork(3);
    let mut answers = answers
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()?;
    rng.shuffle(&mut answers);
    let (mut praise, mut reports) = (PRAISE, REPORTS);
    let mut lines = String::new();
    for answer in &answers {
        let text = |key: &str| answer[key].as_str().unwrap_or_default();
        let (prompt, completion) = (text("prompt"), text("completion"));
        let right = Request::parse(prompt).is_some_and(|r| r.is_met_by(completion));
        let left = if right { &mut praise } else { &mut reports };
        if completion.is_empty() || *left == 0 {
            continue;
        }
        *left -= 1;
        let label = right != (rng.uniform() < SLIPS);
        let line = json!({ "prompt": prompt, "completion": completion, "label": label });
        lines.push_str(&format!("{line}\n"));
    }
    match (praise, reports) {
        (0, 0) => Ok(lines),
        _ => Err(format!("{praise} right and {reports} wrong answers are missing").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_feedback_is_mostly_but_not_always_right() {
        let file = crate::shell::root().join("testdata/demo/feedback.jsonl");
        let text = std::fs::read_to_string(file).unwrap();
        let (mut total, mut up, mut mistaken) = (0, 0, 0);
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let request = Request::parse(line["prompt"].as_str().unwrap()).unwrap();
            let right = request.is_met_by(line["completion"].as_str().unwrap());
            let label = line["label"].as_bool().unwrap();
            total += 1;
            up += usize::from(label);
            mistaken += usize::from(label != right);
        }
        assert_eq!(total, PRAISE + REPORTS);
        // Slips turn more thumbs up than down: there are five times as many to turn. four standard deviations: 44.
        let expected = PRAISE as f64 + SLIPS * (REPORTS - PRAISE) as f64;
        assert!((up as f64 - expected).abs() < 44.0, "{up}");
        assert!(
            (mistaken as f64 - SLIPS * total as f64).abs() < 44.0,
            "{mistaken}"
        );
    }
}
