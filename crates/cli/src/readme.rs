//! The commands and files of README and of the demo's, read by the program itself.

use clap::CommandFactory;
use halo_core::config::TrainConfig;

use crate::Cli;

const README: &str = include_str!("../../../README.md");
const DEMO: &str = include_str!("../../../testdata/demo/README.md");

/// What stands between ```` ```kind ```` and ```` ``` ````.
fn blocks(text: &'static str, kind: &str) -> Vec<&'static str> {
    let open = format!("```{kind}\n");
    text.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

/// Words as a shell sees them: blanks separate, single quotes hold together, # ends.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        match i % 2 {
            0 => words.extend(part.split_whitespace().take_while(|word| *word != "#")),
            _ => words.push(part),
        }
    }
    words
}

#[test]
fn every_command_of_the_readmes_is_understood() {
    let mut seen = 0;
    let blocks = [blocks(README, "sh"), blocks(DEMO, "sh")].concat();
    for line in blocks.iter().flat_map(|block| block.lines()) {
        let line = line.replace("cargo run --release --", "halo");
        if line.starts_with("halo ") {
            let parsed = Cli::command().try_get_matches_from(words(&line));
            assert!(parsed.is_ok(), "{line}\n{}", parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen >= 13, "only {seen} commands found");
}

#[test]
fn every_configuration_of_the_readme_is_one() {
    let files = blocks(README, "toml");
    assert!(!files.is_empty());
    for file in files {
        let config: TrainConfig = toml::from_str(file).unwrap();
        config.check().unwrap();
        halo_loss::Loss::new(&config.loss, &config.loss_parameters).unwrap();
    }
}
