//! A model that stands ready: what a run needs before it has data, and what needs no data.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use halo_loss::{Loss, Need};
use halo_train::{Answer, Ask, Dataset, Job, SequenceRef, Which};

use crate::config::TrainConfig;
use crate::data::{self, Control, DataOptions, Limits, Report};
use crate::device::Placement;
use crate::models::{
    Loaded, Readout, SaveDtype, Tape, Training, load_for, save_adapter, save_model,
};
use crate::reference::{LogpCache, Reference, fingerprint};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result, run_folder};

/// Sequences of one forward pass.
const BATCH: usize = 16;

/// A model with its tokenizer, its loss and (once it is asked for) its reference.
pub struct Ready {
    pub(super) config: TrainConfig,
    pub(super) loss: Loss,
    placement: Placement,
    pub(super) model: Loaded,
    tokenizer: Option<Tokenizer>,
    pub(super) reference: Option<Reference>,
}

/// Data as a loss reads them, shared.
#[derive(Clone, Debug)]
pub struct Data {
    /// The examples.
    pub dataset: Arc<Dataset>,
    /// What was read, cut and dropped.
    pub report: Report,
}

impl From<data::Loaded> for Data {
    fn from(loaded: data::Loaded) -> Data {
        Data {
            dataset: Arc::new(loaded.dataset),
            report: loaded.report,
        }
    }
}

impl Ready {
    /// What can be checked of a configuration before the model is read.
    pub(super) fn check(config: &TrainConfig) -> Result<Loss> {
        config.check_values()?;
        let loss = Loss::new(&config.loss, &config.loss_parameters)?;
        if same_folder(&config.model, &config.output_dir) {
            let message =
                "output_dir is the model's own folder: the run would overwrite what it starts from";
            return Err(Error::parameter(message).with_argument("output_dir"));
        }
        Ok(loss)
    }

    /// Loads the model that a configuration names. `data` and `output_dir` may be missing: see [`super::Session::begin`].
    ///
    /// # Errors
    /// Whatever is wrong with the configuration or the model.
    pub fn load(config: TrainConfig) -> Result<Ready> {
        let loss = Self::check(&config)?;
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
        // Data of token ids needs no tokenizer; text without one is refused by the line that has it.
        let tokenizer = match model.base.join("tokenizer.json").is_file() {
            true => Some(Tokenizer::load(&model.base)?),
            false => None,
        };
        Ok(Ready {
            config,
            loss,
            placement,
            model,
            tokenizer,
            reference: None,
        })
    }

    /// Reads data files as the loss and the configuration want them.
    ///
    /// # Errors
    /// As [`data::load`].
    pub fn read(&self, files: &[PathBuf]) -> Result<Data> {
        let loaded = data::load(files, self.tokenizer.as_ref(), &self.data_options()?)?;
        Ok(Data::from(loaded))
    }

    /// How the loss and the configuration want data to be read, wherever they come from.
    ///
    /// # Errors
    /// Control texts for a loss that reads none.
    pub fn data_options(&self) -> Result<DataOptions> {
        let config = &self.config;
        Ok(DataOptions {
            limits: Limits {
                max_length: Some(config.max_length),
                max_prompt_length: config.max_prompt_length,
                max_completion_length: config.max_completion_length,
                ..Limits::default()
            },
            one_y_per_x: config.one_y_per_x,
            vocab_size: Some(self.model.decoder.config().vocab_size),
            keep_texts: config.record_examples,
            score_threshold: config.score_threshold,
            control: control(config, &self.loss)?,
            ..DataOptions::new(self.loss.data_shape())
        })
    }

    /// The configuration.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The loss, without weights that are derived from data.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// The policy.
    pub fn model(&self) -> &Loaded {
        &self.model
    }

    /// The tokenizer, if the model's folder has one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// What each record's completion gets after its prompt under one of the two models as it stands now: ln π of each scored token in
    /// nats, or of a reward model one score.
    ///
    /// # Errors
    /// A number that is not finite, named by record; a reference that cannot be loaded, or whose weights were let go.
    pub fn scores(&mut self, data: &Dataset, model: Which) -> Result<Vec<Vec<f64>>> {
        if model == Which::Reference {
            self.open_reference()?;
        }
        let ask = match self.model.decoder.config().score_head {
            true => Ask::Scores,
            false => Ask::Tokens { collisions: false },
        };
        let mut scores = Vec::with_capacity(data.records.len());
        for batch in whole(data).chunks(BATCH) {
            let job = match ask {
                Ask::Scores => Job::for_scores(data, batch.to_vec()),
                _ => Job::new(data, batch.to_vec()),
            };
            match self.answer(&job, model, ask, false, data)?.0 {
                Answer::Logps(all) => scores.extend(all.into_iter().map(|score| vec![score])),
                Answer::Tokens(tokens) => {
                    let mut left = tokens.logps.as_slice();
                    for count in job.pack.scored_tokens() {
                        let (own, rest) = left.split_at(count as usize);
                        scores.push(own.to_vec());
                        left = rest;
                    }
                }
                other => return Err(Error::internal(format!("{other:?} is no scores"))),
            }
        }
        check_finite(data, scores.iter().map(|score| score.iter().sum()))?;
        Ok(scores)
    }

    /// ln π of each record's completion after its prompt, sums in nats. What the reference's cache knows is not computed.
    ///
    /// # Errors
    /// As [`Ready::scores`].
    pub(super) fn logps(&mut self, data: &Dataset, model: Which) -> Result<Vec<f64>> {
        let mut logps = Vec::with_capacity(data.records.len());
        for batch in whole(data).chunks(BATCH) {
            let job = Job::new(data, batch.to_vec());
            match self.answer(&job, model, Ask::Sums, false, data)?.0 {
                Answer::Logps(sums) => logps.extend(sums),
                other => return Err(Error::internal(format!("{other:?} is no sums"))),
            }
        }
        check_finite(data, logps.iter().copied())?;
        Ok(logps)
    }

    /// A forward pass of either model.
    pub(super) fn answer(
        &mut self,
        job: &Job,
        model: Which,
        ask: Ask,
        tape: bool,
        data: &Dataset,
    ) -> Result<(Answer, Option<Tape>)> {
        match (model, &mut self.reference) {
            (Which::Policy, _) => self.model.decoder.answer(&job.pack, ask, tape),
            (Which::Reference, Some(reference)) => Ok((reference.answer(job, ask, data)?, None)),
            (Which::Reference, None) => Err(Error::state("the session has no reference to ask")),
        }
    }

    /// Takes the reference as the configuration says, unless it is there: another folder's model, or the policy as it stands now
    /// (frozen copy, or adapter snapshot on the shared base).
    pub(super) fn open_reference(&mut self) -> Result<()> {
        if self.reference.is_none() {
            self.reference = Some(open_reference(&self.config, &self.model, &self.placement)?);
        }
        Ok(())
    }

    /// The reference, if it does not stay as the run found it.
    pub(super) fn moving_reference(&self) -> Option<&Reference> {
        let moves = self.config.reference_sync.is_some();
        self.reference.as_ref().filter(|_| moves)
    }

    /// The model as others read it: Hugging Face weights, or a PEFT adapter, with the tokenizer's files.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        match &self.model.lora {
            Some(lora) => {
                let base = std::path::absolute(&self.model.base)
                    .map_err(|e| Error::io(&self.model.base, e))?;
                save_adapter(&self.model.decoder, lora, &base, folder)?;
            }
            None => save_model(
                &self.model.decoder,
                &self.model.config_json,
                folder,
                SaveDtype::F32,
            )?,
        }
        run_folder::copy_tokenizer(&self.model.base, folder)
    }
}

/// Every record's own sequence.
fn whole(data: &Dataset) -> Vec<SequenceRef> {
    let own = |record| SequenceRef {
        prompt: record,
        completion: record,
        grad: false,
    };
    (0..data.records.len()).map(own).collect()
}

/// # Errors
/// A number that is not finite, by its record.
fn check_finite(data: &Dataset, mut numbers: impl Iterator<Item = f64>) -> Result<()> {
    let Some((index, number)) = numbers.by_ref().enumerate().find(|(_, n)| !n.is_finite()) else {
        return Ok(());
    };
    Err(Error::state(format!(
        "the log-probability of record {:?} is {number}: the run has diverged",
        data.records[index].id
    )))
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
