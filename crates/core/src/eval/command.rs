//! A judge of the user's own: a command that reads JSON lines and writes JSON lines.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Item, Outcome};
use crate::{Error, Result};

/// A shell command that answers one line for each line it reads, in order.
///
/// It reads `{"id", "prompt", "completion", …}` and answers `{"desirable": true}`; to compare two models it reads
/// `{"id", "prompt", "completion_a", "completion_b", …}` and answers `{"winner": "a"}`, `"b"` or `"tie"`.
pub struct CommandJudge {
    command: String,
}

impl CommandJudge {
    /// A judge that `sh -c` runs.
    pub fn new(command: impl Into<String>) -> CommandJudge {
        CommandJudge {
            command: command.into(),
        }
    }

    pub(super) fn desirable(&self, items: &[Item]) -> Result<Vec<bool>> {
        let lines = items.iter().map(|item| json!(item)).collect();
        self.ask(
            lines,
            |answer| answer.get("desirable")?.as_bool(),
            "{\"desirable\": true|false}",
        )
    }

    pub(super) fn compare(&self, ours: &[Item], theirs: &[Item]) -> Result<Vec<Outcome>> {
        let lines = ours
            .iter()
            .zip(theirs)
            .map(|(a, b)| {
                let mut line = json!(a);
                line["completion_a"] = a.completion.clone().into();
                line["completion_b"] = b.completion.clone().into();
                if let Some(line) = line.as_object_mut() {
                    line.remove("completion");
                }
                line
            })
            .collect();
        let read = |answer: &Value| match answer.get("winner")?.as_str()? {
            "a" => Some(Outcome::Win),
            "b" => Some(Outcome::Loss),
            "tie" => Some(Outcome::Tie),
            _ => None,
        };
        self.ask(lines, read, "{\"winner\": \"a\"|\"b\"|\"tie\"}")
    }

    fn ask<T>(
        &self,
        lines: Vec<Value>,
        read: impl Fn(&Value) -> Option<T>,
        form: &str,
    ) -> Result<Vec<T>> {
        let failed =
            |what: String| Error::data(format!("judge command \"{}\": {what}", self.command));
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| failed(e.to_string()))?;
        let stdin = child.stdin.take();
        let questions = lines.len();
        // Written from a thread of its own: a judge may answer before it has read everything.
        let writer = std::thread::spawn(move || {
            if let Some(mut stdin) = stdin {
                for line in lines {
                    // A judge that stops reading is found by the count of its answers.
                    if writeln!(stdin, "{line}").is_err() {
                        break;
                    }
                }
            }
        });
        let output = child
            .wait_with_output()
            .map_err(|e| failed(e.to_string()))?;
        let _ = writer.join();
        if !output.status.success() {
            return Err(failed(output.status.to_string()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let answers = text.lines().filter(|line| !line.trim().is_empty());
        let mut verdicts = Vec::with_capacity(questions);
        for (number, line) in answers.enumerate() {
            let verdict = serde_json::from_str(line).ok().as_ref().and_then(&read);
            verdicts.push(verdict.ok_or_else(|| {
                failed(format!("answer {} is {line}; expected {form}", number + 1))
            })?);
        }
        if verdicts.len() != questions {
            return Err(failed(format!(
                "{} answers to {questions} questions",
                verdicts.len()
            )));
        }
        Ok(verdicts)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::eval::Judge;

    fn items(completions: &[&str]) -> Vec<Item> {
        let item = |(i, completion): (usize, &&str)| Item {
            id: i.to_string(),
            prompt: "p".into(),
            completion: completion.to_string(),
            fields: Default::default(),
        };
        completions.iter().enumerate().map(item).collect()
    }

    #[test]
    fn a_command_judges_line_by_line() {
        let judge = Judge::Command(CommandJudge::new(
            r#"while read -r line; do case "$line" in *yes*) echo '{"desirable":true}';; *) echo '{"desirable":false}';; esac; done"#,
        ));
        assert_eq!(
            judge.desirable(&items(&["yes", "no", "yes"])).unwrap(),
            [true, false, true]
        );
    }

    #[test]
    fn a_command_compares_two_models() {
        let judge = Judge::Command(CommandJudge::new(
            r#"sed -e 's/.*"completion_a":"good".*/{"winner":"a"}/' -e 's/.*"completion_b":"good".*/{"winner":"b"}/'"#,
        ));
        let outcomes = judge
            .compare(&items(&["good", "bad"]), &items(&["bad", "good"]))
            .unwrap();
        assert_eq!(outcomes, [Outcome::Win, Outcome::Loss]);
    }

    #[test]
    fn a_judge_that_fails_says_how() {
        let ask = |command: &str| {
            Judge::Command(CommandJudge::new(command))
                .desirable(&items(&["a", "b"]))
                .unwrap_err()
                .to_string()
        };
        assert!(ask("exit 3").contains("exit status: 3"));
        assert!(
            ask("head -n 1 >/dev/null; echo '{\"desirable\":true}'")
                .contains("1 answers to 2 questions")
        );
        assert!(ask("echo nonsense").contains("answer 1 is nonsense"));
    }
}
