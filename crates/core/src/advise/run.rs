//! The proposed run as a configuration file, with the reasons beside the keys.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use halo_loss::advice::Fit;
use halo_loss::{DataShape, find};
use toml::Value;

use super::Report;
use crate::{Error, Result};

/// What a proposed run is about, beside its loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setting {
    /// The data files.
    pub data: Vec<PathBuf>,
    /// The model, if one is known.
    pub model: Option<PathBuf>,
    /// The reference, if it is not the model as it starts.
    pub reference: Option<PathBuf>,
    /// The length limit that the data was looked at with.
    pub max_length: Option<usize>,
}

impl Report {
    /// A TOML file for `halo train --config`.
    ///
    /// # Errors
    /// No loss that can be trained on the data as it stands.
    pub fn toml(&self, setting: &Setting) -> Result<String> {
        let Some(candidate) = self.candidate() else {
            return Err(Error::data(
                "no loss can be trained on these lines as they stand",
            ));
        };
        let proposal = &candidate.proposal;
        let mut text = format!(
            "# Proposed by `halo advise`: {}, score {}.\n",
            proposal.loss, candidate.score
        );
        let mut list = |word: &str, fits: &[&Fit]| {
            for fit in fits {
                text += &format!("#   {word}: {}\n", line(fit.reason));
            }
        };
        list("for", &candidate.reasons_for);
        list("against", &candidate.reasons_against);
        let mut key = |name: &str, value: Value| {
            // writing to a string cannot fail
            let _ = writeln!(text, "{name} = {value}");
        };
        key("loss", proposal.loss.as_str().into());
        key(
            "data",
            Value::Array(setting.data.iter().map(|path| shown(path)).collect()),
        );
        if let Some(reference) = &setting.reference {
            key("reference", shown(reference));
        }
        let judges = find(&proposal.loss)
            .is_ok_and(|spec| matches!(spec.shape, DataShape::Unpaired | DataShape::Any));
        if let Some(threshold) = self.contents.score_threshold.filter(|_| judges) {
            key("score_threshold", threshold.into());
        }
        if let Some(max_length) = setting.max_length {
            key("max_length", (max_length as i64).into());
        }
        key("output_dir", "run".into());
        match &setting.model {
            Some(model) => key("model", shown(model)),
            None => {
                text += "# The model to train is not known here: add model = \"DIR\", or give --model DIR.\n"
            }
        }
        if !proposal.params.is_empty() {
            text += "\n[loss_parameters]\n";
            for why in &proposal.why {
                let _ = writeln!(text, "# {}", line(why));
            }
            let params = toml::Table::try_from(&proposal.params)
                .map_err(|e| Error::internal(e.to_string()))?;
            for (name, value) in params {
                let _ = writeln!(text, "{name} = {value}");
            }
        }
        Ok(text)
    }
}

fn shown(path: &Path) -> Value {
    path.display().to_string().into()
}

/// A comment is one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
