//! β and the class weights learnt from data: short runs of a small grid, compared on prompts that none of them trained on.
//!
//! Losses of different β or λ cannot be compared with each other, so the measure knows neither: how well ln π − ln π_ref tells
//! desirable from undesirable held-out completions, and how far the policy moved for it. Every candidate starts from the same
//! weights and sees the same examples in the same order, so that nothing but the parameters differs.

use std::path::{Path, PathBuf};

use halo_loss::{DataShape, Loss, Need, ParamValue, Params};
use halo_train::Which;
use serde::Serialize;

use crate::config::TrainConfig;
use crate::session::{Session, Step, Trial};
use crate::{Error, Result};

mod grid;
mod utility;
mod write;

pub use grid::{Candidate, FACTORS, candidates};
pub use utility::{Utility, area, error_of_area};
pub use write::write;

use utility::measure;

/// Below so many held-out completions (or pairs) differences mean little.
pub const FEW: usize = 20;

/// What to try, and how to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How each candidate is run.
    pub trial: Trial,
    /// βs; empty: [`FACTORS`] of the configured one.
    pub betas: Vec<f64>,
    /// Class balances, for losses with class weights; beside them the weights as configured are tried.
    pub balances: Vec<f64>,
    /// At most so many candidates, the configured one first, the others drawn by the seed; `None`: the whole grid.
    pub trials: Option<usize>,
}

/// A candidate that was run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// What it changes.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// All the loss's parameters in the trial, derived weights included.
    pub params: Params,
    /// On the held-out examples; `None` where the run diverged.
    pub utility: Option<Utility>,
    /// Why there is no utility.
    pub failure: Option<String>,
}

/// What tuning found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The loss.
    pub loss: String,
    /// Whether pairs were compared, or single completions of two classes.
    pub pairs: bool,
    /// Examples trained on: completions, or pairs.
    pub training: usize,
    /// Examples held out.
    pub held_out: usize,
    /// Steps of each candidate.
    pub steps: u64,
    /// The seed of the split, the order and the candidates drawn.
    pub seed: u64,
    /// All that were run, in their order; the first is the run as configured.
    pub tried: Vec<Tried>,
    /// The chosen one: an index into them.
    pub chosen: usize,
    /// How many are within one standard error of the best accuracy, the best one included.
    pub within_error: usize,
}

/// Where a search stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The candidate that runs, from 0.
    pub candidate: usize,
    /// Of so many.
    pub of: usize,
    /// Steps of each.
    pub steps: u64,
    /// What its last step did.
    pub step: &'a Step,
}

impl Outcome {
    /// The chosen candidate.
    pub fn choice(&self) -> &Tried {
        &self.tried[self.chosen]
    }

    /// Whether too few examples are held out to tell candidates apart.
    pub fn few(&self) -> bool {
        self.held_out < FEW
    }
}

/// Runs the candidates. `scratch` holds a folder of each trial's own while it runs, and nothing afterwards.
///
/// # Errors
/// A loss with nothing to tune or nothing to measure; a split without one of the classes; whatever [`Session::open`] refuses;
/// every candidate diverging.
pub fn tune(
    config: &TrainConfig,
    options: &Options,
    scratch: &Path,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Outcome> {
    let loss = Loss::new(&config.loss, &config.loss_parameters)?;
    check(&loss)?;
    let all = candidates(config, &loss, options)?;
    let mut outcome = Outcome {
        loss: loss.name().into(),
        pairs: loss.data_shape() == DataShape::Paired,
        training: 0,
        held_out: 0,
        steps: 0,
        seed: config.seed,
        tried: Vec::new(),
        chosen: 0,
        within_error: 0,
    };
    // The reference is the same for all: asked once.
    let mut start: Option<Vec<f64>> = None;
    for (index, candidate) in all.iter().enumerate() {
        let folder = Folder(scratch.join(format!("trial-{index}")));
        let mut session = Session::open_trial(trial(config, candidate, &folder.0), &options.trial)?;
        let params = session.loss().params().clone();
        // Balanced data: a derived weight can be the configured one.
        if outcome.tried.iter().any(|tried| tried.params == params) {
            continue;
        }
        let Some(held) = session.held_out().cloned() else {
            return Err(Error::internal("a trial without held-out examples"));
        };
        if start.is_none() {
            outcome.training = session.report().kept - held.units.len();
            outcome.held_out = held.units.len();
            outcome.steps = session.total_steps();
            utility::check(&held)?;
            start = Some(session.logps(&held, Which::Reference)?);
        }
        let reference = start.as_deref().unwrap_or_default();
        let measured = (|| {
            // Not to the end: that would save the model.
            while session.completed_steps() < session.total_steps() {
                let Some(step) = session.step()? else { break };
                progress(Progress {
                    candidate: index,
                    of: all.len(),
                    steps: outcome.steps,
                    step: &step,
                });
            }
            let policy = session.logps(&held, Which::Policy)?;
            measure(&held, &policy, reference)
        })();
        let (utility, failure) = match measured {
            Ok(utility) => (Some(utility), None),
            // A run that diverges says something about its parameters, not about the others.
            Err(error) if error.is_state() => (None, Some(error.to_string())),
            Err(error) => return Err(error),
        };
        outcome.tried.push(Tried {
            candidate: candidate.clone(),
            params,
            utility,
            failure,
        });
    }
    choose(&mut outcome)?;
    Ok(outcome)
}

/// The best accuracy; among those within its standard error the one that moved least.
///
/// # Errors
/// None was measured.
fn choose(outcome: &mut Outcome) -> Result<()> {
    let measured = |outcome: &Outcome| -> Vec<(usize, Utility)> {
        let tried = outcome.tried.iter().enumerate();
        tried
            .filter_map(|(index, tried)| Some((index, tried.utility?)))
            .collect()
    };
    let all = measured(outcome);
    let by_accuracy =
        |a: &&(usize, Utility), b: &&(usize, Utility)| a.1.accuracy.total_cmp(&b.1.accuracy);
    let Some((_, best)) = all.iter().max_by(by_accuracy) else {
        return Err(Error::state(format!(
            "every candidate diverged; the first: {}",
            outcome.tried[0].failure.as_deref().unwrap_or("unknown")
        )));
    };
    let near = all
        .iter()
        .filter(|(_, utility)| utility.accuracy >= best.accuracy - best.standard_error);
    outcome.within_error = near.clone().count();
    // the first of equals: the order of the grid
    if let Some((index, _)) = near.min_by(|a, b| a.1.drift.total_cmp(&b.1.drift)) {
        outcome.chosen = *index;
    }
    Ok(())
}

/// # Errors
/// A loss that is not over log-probabilities of labelled or compared completions.
fn check(loss: &Loss) -> Result<()> {
    let name = loss.name();
    let refuse = |why: &str| {
        Err(Error::parameter(format!("{name} cannot be tuned: {why}")).with_argument("loss"))
    };
    match loss.data_shape() {
        _ if loss.needs(Need::Scores) => {
            refuse("its scores have no log-ratio to compare held-out examples by")
        }
        DataShape::Grouped => refuse("it compares rewards of a group, and reads no labels"),
        DataShape::Any => refuse("it learns from demonstrations, and reads no labels"),
        DataShape::Unpaired | DataShape::Paired => Ok(()),
    }
}

/// The configuration of a candidate's trial.
fn trial(config: &TrainConfig, candidate: &Candidate, folder: &Path) -> TrainConfig {
    let mut trial = TrainConfig {
        output_dir: folder.to_owned(),
        // Nothing is kept of a trial; and a released reference could not answer for held-out examples.
        save_steps: u64::from(u32::MAX),
        record_examples: false,
        precompute_ref_log_probs: false,
        reference_cache: None,
        ..config.clone()
    };
    candidate.apply(&mut trial);
    trial
}

/// A number that a loss has under this name.
fn number(loss: &Loss, name: &str) -> Option<f64> {
    match loss.param(name) {
        Some(ParamValue::Number(number)) => Some(*number),
        _ => None,
    }
}

/// A trial's folder, removed with everything in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // what is left over of a trial harms nobody
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
