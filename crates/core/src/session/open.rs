//! Opening a run: everything that can be wrong is found here, before anything is computed.

use std::path::Path;
use std::sync::Arc;

use halo_loss::{Loss, Need, weighting};
use halo_train::{Machine, needs_reference};

use super::trial::classes;
use super::{Data, Ready, Session, Trial};
use crate::checkpoint::{self, Stored};
use crate::config::TrainConfig;
use crate::data::Report;
use crate::optimizer::Optimizer;
use crate::records::Lines;
use crate::{Error, Result, run_folder};

impl Session {
    /// Opens a run, new or (`resume`) from the last checkpoint in its folder.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration, the model, the data or the folder, before anything is computed.
    pub fn open(config: TrainConfig, resume: bool) -> Result<Session> {
        Self::open_for(config, resume, None)
    }

    /// The same for a trial, which trains on a part of the data for a while.
    pub(super) fn open_for(
        config: TrainConfig,
        resume: bool,
        trial: Option<&Trial>,
    ) -> Result<Session> {
        config.check()?;
        Ready::check(&config)?;
        let out = config.output_dir.clone();
        let made = run_folder::claim(&out, resume)?;
        let newest = match resume {
            true => checkpoint::latest(&out)?,
            false => None,
        };
        let opened = || -> Result<Session> {
            let mut ready = Ready::load(config)?;
            let data = ready.read(&ready.config.data)?;
            let run = Run::prepare(&mut ready, &data, trial, newest.as_deref())?;
            Ok(run.session(ready))
        };
        opened().inspect_err(|_| {
            if made {
                // Nothing has run: a folder of our own making goes again. The first error is the one to report.
                let _ = std::fs::remove_dir_all(&out);
            }
        })
    }

    /// Begins a run of a model that is ready on these data, new or from a checkpoint's folder. Without `output_dir` it leaves nothing
    /// on the disk but what [`Session::save`] is asked for.
    ///
    /// # Errors
    /// What is wrong, with the model as it was.
    pub fn begin(
        mut ready: Ready,
        data: &Data,
        from: Option<&Path>,
    ) -> Result<Session, Box<(Ready, Error)>> {
        let out = ready.config.output_dir.clone();
        let made = match claim(&out, from.is_some()) {
            Ok(made) => made,
            Err(error) => return Err(Box::new((ready, error))),
        };
        match Run::prepare(&mut ready, data, None, from) {
            Ok(run) => Ok(run.session(ready)),
            Err(error) => {
                if made {
                    // As above: nothing has run.
                    let _ = std::fs::remove_dir_all(&out);
                }
                Err(Box::new((ready, error)))
            }
        }
    }

    /// Goes to where a checkpoint stands: one of this run, or of another with the same configuration and data.
    ///
    /// # Errors
    /// A damaged checkpoint, or one of another run: nothing has changed then.
    pub fn load(&mut self, folder: &Path) -> Result<()> {
        let ready = &mut self.ready;
        let stored = checkpoint::read(
            folder,
            &ready.config,
            &ready.model.bank,
            ready.moving_reference(),
        )?;
        let machine = Machine::restore(
            ready.config.plan(),
            Arc::clone(self.machine.data()),
            self.machine.loss().clone(),
            &stored.machine,
        )?;
        let (metrics, examples) = lines(&ready.config, &machine)?;
        ready.model.bank.clear()?;
        stored.apply(&ready.model.bank, &self.optimizer, ready.moving_reference())?;
        (self.machine, self.metrics, self.examples) = (machine, metrics, examples);
        (self.tape, self.started, self.finished) = (None, None, false);
        Ok(())
    }
}

/// The folder of a run that a host begins, if it has one; whether it was made now.
///
/// # Errors
/// A run stands there that is not to go on; a folder that cannot be written.
fn claim(out: &Path, goes_on: bool) -> Result<bool> {
    if out.as_os_str().is_empty() {
        return Ok(false);
    }
    let holds_run = run_folder::holds_run(out);
    if holds_run && !goes_on {
        return Err(Error::state(format!(
            "output_dir = {}: a run stands there already; load one of its checkpoints, or choose another folder",
            out.display()
        )));
    }
    run_folder::claim(out, holds_run)
}

/// What a run adds to a model that is ready.
struct Run {
    optimizer: Optimizer,
    machine: Machine,
    report: Report,
    metrics: Option<Lines>,
    examples: Option<Lines>,
    held_out: Option<Arc<halo_train::Dataset>>,
}

impl Run {
    fn prepare(
        ready: &mut Ready,
        data: &Data,
        trial: Option<&Trial>,
        from: Option<&Path>,
    ) -> Result<Run> {
        let mut report = data.report.clone();
        let (dataset, held_out) = match trial {
            None => (Arc::clone(&data.dataset), None),
            Some(trial) => {
                let (training, held_out) = trial.divide(&data.dataset, ready.config.seed)?;
                trial.shorten(&mut ready.config, training.units.len());
                // the weights must not know the held-out labels
                [report.desirable, report.undesirable] = classes(&training);
                (Arc::new(training), Some(Arc::new(held_out)))
            }
        };
        let mut loss = ready.loss.clone();
        if let Some(target) = ready.config.class_balance {
            let weights =
                weighting::from_counts(report.desirable as u64, report.undesirable as u64, target)?;
            loss = loss.with_weights(weights)?;
        }
        // A trial is measured against the reference even where the loss reads none.
        if trial.is_some() || needs_reference(&loss, &dataset) {
            ready.open_reference()?;
        }
        let bank = &ready.model.bank;
        let moving = ready.moving_reference();
        if let Some(reference) = moving {
            reference.trained(bank)?;
        }
        check_cache(&ready.config, &loss)?;

        let optimizer = Optimizer::new(ready.config.optimizer(), bank)?;
        let stored: Option<Stored> = match from {
            Some(folder) => Some(checkpoint::read(folder, &ready.config, bank, moving)?),
            None => None,
        };
        let plan = ready.config.plan();
        let machine = match &stored {
            Some(stored) => Machine::restore(plan, dataset, loss, &stored.machine)?,
            None => Machine::new(plan, dataset, loss)?,
        };
        let (metrics, examples) = lines(&ready.config, &machine)?;
        if let Some(stored) = stored {
            stored.apply(bank, &optimizer, moving)?;
        }
        if !ready.config.output_dir.as_os_str().is_empty() {
            // Last: a folder with this file is a run that can be resumed.
            run_folder::write_config(&ready.config)?;
        }
        Ok(Run {
            optimizer,
            machine,
            report,
            metrics,
            examples,
            held_out,
        })
    }

    fn session(self, ready: Ready) -> Session {
        Session {
            ready,
            optimizer: self.optimizer,
            machine: self.machine,
            report: self.report,
            metrics: self.metrics,
            examples: self.examples,
            tape: None,
            started: None,
            finished: false,
            held_out: self.held_out,
        }
    }
}

/// The run's records, cut back to the steps that the machine has done; none without a folder.
fn lines(config: &TrainConfig, machine: &Machine) -> Result<(Option<Lines>, Option<Lines>)> {
    let (out, completed) = (&config.output_dir, machine.completed_steps());
    if out.as_os_str().is_empty() {
        return Ok((None, None));
    }
    let metrics = Lines::open(&out.join("metrics.jsonl"), completed, None)?;
    let examples = match config.record_examples {
        true => {
            let header = serde_json::to_value(machine.example_header(crate::ENGINE))
                .map_err(|e| Error::internal(e.to_string()))?;
            let path = out.join("examples.jsonl");
            Some(Lines::open(&path, completed, Some(&header))?)
        }
        false => None,
    };
    Ok((Some(metrics), examples))
}

/// # Errors
/// A cache of the reference where the reference moves, or where the loss reads its tokens one by one: it keeps sums.
fn check_cache(config: &TrainConfig, loss: &Loss) -> Result<()> {
    let refuse = |why: String| {
        let message = format!(
            "precompute_ref_log_probs and reference_cache keep one sum a completion, but {why}"
        );
        Err(Error::parameter(message).with_argument("precompute_ref_log_probs"))
    };
    // A parameter on its way may switch on what reads tokens.
    let later = config.loss_schedule.iter();
    let mut later = later.filter_map(|(name, ramp)| loss.with(name, ramp.to).ok());
    let reads_tokens =
        loss.needs(Need::TokenLogps) || later.any(|loss| loss.needs(Need::TokenLogps));
    match config.cache_path() {
        None => Ok(()),
        Some(_) if config.reference_sync.is_some() => {
            refuse("reference_sync moves the reference".into())
        }
        Some(_) if reads_tokens => refuse(format!("{} reads its tokens one by one", loss.name())),
        Some(_) => Ok(()),
    }
}
