//! The binary as a user calls it: in a folder of the test's own, its output captured.
#![allow(dead_code, reason = "each file of tests uses a part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `testdata/fixtures/NAME`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/fixtures")
        .join(name)
        .canonicalize()
        .unwrap()
}

/// A folder of one test's own, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("halo-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file; gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `halo ARGS…`, its words separated by spaces, not started yet.
pub(crate) fn halo(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halo"));
    command.args(args.split_whitespace()).stdin(Stdio::null());
    command
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end; whatever happens, it never panics.
pub(crate) fn say(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let said = Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    said
}

/// The lines of a run's `metrics.jsonl` without the one number that differs between equal runs.
pub(crate) fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut json: serde_json::Value = serde_json::from_str(line).unwrap();
            json.as_object_mut()
                .unwrap()
                .remove("step_seconds")
                .unwrap();
            json
        })
        .collect()
}

/// `halo train` in a folder of its own: right in everything that a test does not replace.
pub(crate) struct Train {
    pub(crate) scratch: Scratch,
    pub(crate) model: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) args: Vec<String>,
}

impl Train {
    pub(crate) fn new(test: &str) -> Train {
        let scratch = Scratch::new(test);
        Train {
            model: fixture("models/llama"),
            data: fixture("trl/kto.jsonl"),
            out: scratch.path("run"),
            args: vec!["--steps".into(), "2".into()],
            scratch,
        }
    }

    /// Other arguments, separated by spaces.
    pub(crate) fn args(mut self, args: &str) -> Train {
        self.args = args.split_whitespace().map(String::from).collect();
        self
    }

    /// A data file of these lines.
    pub(crate) fn data(mut self, text: &str) -> Train {
        self.data = self.scratch.file("data.jsonl", text);
        self
    }

    /// A copy of the model, changed.
    pub(crate) fn model(mut self, change: impl FnOnce(&Path)) -> Train {
        let copy = self.scratch.path("model");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&self.model).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        change(&copy);
        self.model = copy;
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = halo("train");
        command.arg("--model").arg(&self.model);
        command.arg("--data").arg(&self.data);
        command.arg("--out").arg(&self.out).args(&self.args);
        command
    }

    /// What standard error said, with `$` for the test's own folder.
    pub(crate) fn message(&self, said: &Said) -> String {
        let own = self.scratch.path("").display().to_string();
        said.stderr.replace(own.trim_end_matches('/'), "$")
    }

    /// Refused with this code; the message without `error: `.
    pub(crate) fn refused(&self, code: i32) -> String {
        let said = say(&mut self.command());
        let message = self.message(&said);
        assert_eq!(said.code, Some(code), "{message}");
        assert_eq!(said.stdout, "");
        assert!(!self.out.is_dir(), "nothing has run, nothing is left");
        assert!(self.half_written().is_empty());
        let message = message.strip_prefix("error: ").unwrap();
        message.strip_suffix('\n').unwrap().to_string()
    }

    /// Refused with this code and exactly this message.
    pub(crate) fn says(&self, code: i32, message: &str) {
        assert_eq!(self.refused(code), message);
    }

    pub(crate) fn half_written(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.scratch.path("")];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
                if path
                    .extension()
                    .is_some_and(|e| e == "partial" || e == "tmp")
                {
                    found.push(path.clone());
                }
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        found
    }
}
