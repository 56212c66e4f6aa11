//! Opening a run: everything that can be wrong is found here, before anything is computed.

use std::path::Path;
use std::sync::Arc;

use halo_loss::{Loss, Need, weighting};
use halo_train::{Machine, needs_reference};

use super::trial::classes;
use super::{Session, Trial};
use crate::checkpoint;
use crate::config::TrainConfig;
use crate::data::{self, Control, DataOptions, Limits};
use crate::device::Placement;
use crate::models::{Loaded, Readout, Training, load_for};
use crate::optimizer::Optimizer;
use crate::records::Lines;
use crate::reference::{LogpCache, Reference, fingerprint};
use crate::tokenizer::Tokenizer;
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
        let loss = Loss::new(&config.loss, &config.loss_parameters)?;
        let out = config.output_dir.clone();
        if same_folder(&config.model, &out) {
            let message =
                "output_dir is the model's own folder: the run would overwrite what it starts from";
            return Err(Error::parameter(message).with_argument("output_dir"));
        }
        let made = run_folder::claim(&out, resume)?;
        Self::prepare(config, loss, resume, trial).inspect_err(|_| {
            if made {
                // Nothing has run: a folder of our own making goes again. The first error is the one to report.
                let _ = std::fs::remove_dir_all(&out);
            }
        })
    }

    fn prepare(
        mut config: TrainConfig,
        mut loss: Loss,
        resume: bool,
        trial: Option<&Trial>,
    ) -> Result<Session> {
        let readout = match loss.needs(Need::Scores) {
            true => Readout::Scores,
            false => Readout::Logps,
        };
        let placement = Placement::open(&config.device, &config.dtype)?;
        let mut model = load_for(
            &config.model,
            &config.training(),
            readout,
            config.seed,
            &placement,
        )?;
        model.decoder.recompute = config.gradient_checkpointing;
        let loaded = read_data(&config, &loss, &model)?;
        let mut report = loaded.report;
        let (data, held_out) = match trial {
            None => (loaded.dataset, None),
            Some(trial) => {
                let (training, held_out) = trial.divide(&loaded.dataset, config.seed)?;
                trial.shorten(&mut config, training.units.len());
                // the weights must not know the held-out labels
                [report.desirable, report.undesirable] = classes(&training);
                (training, Some(Arc::new(held_out)))
            }
        };
        if let Some(target) = config.class_balance {
            let weights =
                weighting::from_counts(report.desirable as u64, report.undesirable as u64, target)?;
            loss = loss.with_weights(weights)?;
        }
        let data = Arc::new(data);
        // A trial is measured against the reference even where the loss reads none.
        let reference = match trial.is_some() || needs_reference(&loss, &data) {
            true => Some(open_reference(&config, &model, &placement)?),
            false => None,
        };
        let moving = reference
            .as_ref()
            .filter(|_| config.reference_sync.is_some());
        if let Some(reference) = moving {
            reference.trained(&model.bank)?;
        }
        check_cache(&config, &loss)?;

        let mut optimizer = Optimizer::new(config.optimizer()?, &model.bank)?;
        let newest = if resume {
            checkpoint::latest(&config.output_dir)?
        } else {
            None
        };
        let machine = match newest {
            Some(folder) => {
                let state =
                    checkpoint::restore(&folder, &config, &model.bank, &mut optimizer, moving)?;
                Machine::restore(config.plan(), data.clone(), loss, &state)?
            }
            None => Machine::new(config.plan(), data.clone(), loss)?,
        };

        let completed = machine.completed_steps();
        let out = &config.output_dir;
        let metrics = Lines::open(&out.join("metrics.jsonl"), completed, None)?;
        let examples = match config.record_examples {
            true => {
                let header = serde_json::to_value(machine.example_header(crate::ENGINE))
                    .map_err(|e| Error::internal(e.to_string()))?;
                Some(Lines::open(
                    &out.join("examples.jsonl"),
                    completed,
                    Some(&header),
                )?)
            }
            false => None,
        };
        // Last: a folder with this file is a run that can be resumed.
        run_folder::write_config(&config)?;
        Ok(Session {
            config,
            model,
            reference,
            optimizer,
            machine,
            data,
            report,
            metrics,
            examples,
            tape: None,
            held_out,
        })
    }
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

fn read_data(config: &TrainConfig, loss: &Loss, model: &Loaded) -> Result<data::Loaded> {
    // Data of token ids needs no tokenizer; text without one is refused by the line that has it.
    let tokenizer = match model.base.join("tokenizer.json").is_file() {
        true => Some(Tokenizer::load(&model.base)?),
        false => None,
    };
    let options = DataOptions {
        limits: Limits {
            max_length: Some(config.max_length),
            max_prompt_length: config.max_prompt_length,
            max_completion_length: config.max_completion_length,
            ..Limits::default()
        },
        one_y_per_x: config.one_y_per_x,
        vocab_size: Some(model.decoder.config().vocab_size),
        keep_texts: config.record_examples,
        score_threshold: config.score_threshold,
        control: control(config, loss)?,
        ..DataOptions::new(loss.data_shape())
    };
    data::load(&config.data, tokenizer.as_ref(), &options)
}

/// The texts that the loss asks the data step to put before completions.
///
/// # Errors
/// A text for a loss that reads none.
fn control(config: &TrainConfig, loss: &Loss) -> Result<Option<Control>> {
    let (desirable, undesirable) = (&config.control_desirable, &config.control_undesirable);
    if loss.needs(Need::ControlTokens) {
        let default = Control::default();
        return Ok(Some(Control {
            desirable: desirable.clone().unwrap_or(default.desirable),
            undesirable: undesirable.clone().unwrap_or(default.undesirable),
        }));
    }
    let given = [
        ("control_desirable", desirable),
        ("control_undesirable", undesirable),
    ];
    match given.iter().find(|(_, text)| text.is_some()) {
        None => Ok(None),
        Some((key, _)) => {
            let message = format!("{key} is set, and {} has no control texts", loss.name());
            Err(Error::parameter(message).with_argument(*key))
        }
    }
}

/// The reference: another folder's model, or the policy as it starts (frozen copy, or adapter snapshot on the shared base).
fn open_reference(
    config: &TrainConfig,
    policy: &Loaded,
    placement: &Placement,
) -> Result<Reference> {
    let model = match &config.reference {
        None => policy.decoder.frozen()?,
        // The adapter's own base: shared, not loaded again.
        Some(folder) if policy.lora.is_some() && same_folder(folder, &policy.base) => {
            policy.decoder.frozen()?.without_adapters()
        }
        Some(folder) => {
            let frozen = Training::Frozen;
            let reference = load_for(folder, &frozen, Readout::Logps, config.seed, placement)?;
            let reference = reference.decoder;
            let (ours, theirs) = (
                policy.decoder.config().vocab_size,
                reference.config().vocab_size,
            );
            if ours != theirs {
                return Err(Error::model(format!(
                    "{}: the reference has a vocabulary of {theirs}, the policy one of {ours}",
                    folder.display()
                )));
            }
            reference
        }
    };
    let cache = match config.cache_path() {
        Some(path) => Some(LogpCache::open(&path, &fingerprint(&model)?)?),
        None => None,
    };
    Ok(Reference::new(model, cache))
}

fn same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
