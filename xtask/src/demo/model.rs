//! The chain from random weights to feedback, by halo itself.

use std::fs;
use std::path::Path;

use super::{Failure, SEED, data, feedback, start};
use crate::shell;

/// Everything in between.
const WORK: &str = "target/demo";

/// Writes `model/` and `feedback.jsonl` beside the data that they are made from.
pub(super) fn make(root: &Path) -> Result<(), Failure> {
    let (demo, work) = (root.join("testdata/demo"), root.join(WORK));
    data::write(&demo)?;
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    start::write_texts(&work.join("start"))?;
    start::write_weights(&work.join("start"))?;
    fs::write(work.join("prompts.jsonl"), data::lines(&data::prompts().1))?;
    for arguments in [
        "train --config testdata/demo/sft.toml --model target/demo/start --out target/demo/sft"
            .into(),
        "export --model target/demo/sft --dtype bf16 --out target/demo/model".into(),
        format!(
            "generate --model {WORK}/model --prompts {WORK}/prompts.jsonl --max-new-tokens 16 --samples 2 \
             --seed {SEED} --out {WORK}/answers.jsonl"
        ),
    ] {
        shell::run(&mut shell::cargo(&format!(
            "run --release --quiet -p halo-cli -- {arguments}"
        )))?;
    }
    let answers = fs::read_to_string(work.join("answers.jsonl"))?;
    fs::write(demo.join("feedback.jsonl"), feedback::label(&answers)?)?;
    // Last: the binary that did all this holds the old model inside.
    for file in fs::read_dir(work.join("model"))? {
        let file = file?;
        fs::copy(file.path(), demo.join("model").join(file.file_name()))?;
    }
    Ok(())
}
