//! Everything a training run can be told, once: the command line's flags, the TOML keys and the checkpoints' fingerprint are this struct.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[cfg(feature = "cli")]
use clap::builder::{OsStringValueParser, TypedValueParser};
use halo_loss::{Params, Scope};
use halo_train::{Mismatch, Order, Ramp, ReferenceSync, RunPlan, Schedule};
use serde::{Deserialize, Serialize};

use crate::models::{LoraConfig, Training};
use crate::optimizer::{Optim, OptimizerConfig};
use crate::{Error, Result};

mod allowed;

#[cfg(feature = "cli")]
use allowed::parse_scope;

/// A training run. Keys are Hugging Face's where those exist; the defaults stand in [`TrainConfig::default`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Model to train: a Hugging Face folder, a PEFT adapter folder, or ORG/NAME on the hub
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            value_name = "DIR",
            default_value = "",
            hide_default_value = true,
            value_parser = OsStringValueParser::new().map(PathBuf::from),
            help_heading = "Model"
        )
    )]
    pub model: PathBuf,
    /// Reference model folder [default: the starting policy, frozen]
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR", help_heading = "Model"))]
    pub reference: Option<PathBuf>,
    /// Train low-rank adapters of this rank instead of all weights
    #[cfg_attr(
        feature = "cli",
        arg(long = "lora", value_name = "RANK", help_heading = "Model")
    )]
    pub lora_r: Option<usize>,
    /// LoRA's alpha: the update is scaled by alpha / rank [default: twice the rank]
    #[cfg_attr(feature = "cli", arg(long, value_name = "A", help_heading = "Model"))]
    pub lora_alpha: Option<f64>,
    /// Linear layers that get adapters, as in q_proj,v_proj [default: all seven]
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            value_name = "NAMES",
            value_delimiter = ',',
            help_heading = "Model"
        )
    )]
    pub lora_target_modules: Option<Vec<String>>,
    /// Blocks that get adapters, as in 0,1,2 [default: all]
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            value_name = "BLOCKS",
            value_delimiter = ',',
            help_heading = "Model"
        )
    )]
    pub lora_layers: Option<Vec<usize>>,

    /// Data files, JSONL or JSONL.gz
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE", num_args = 1.., help_heading = "Data"))]
    pub data: Vec<PathBuf>,
    /// Longest prompt plus completion, in tokens; what is over is cut
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = TrainConfig::default().max_length, help_heading = "Data"))]
    pub max_length: usize,
    /// Longest prompt, in tokens; its end is kept
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Data"))]
    pub max_prompt_length: Option<usize>,
    /// Longest completion, in tokens; with max_prompt_length it also bounds a prompt with another example's completion
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Data"))]
    pub max_completion_length: Option<usize>,
    /// Keep one completion per prompt when pairs are taken apart for an unpaired loss
    #[cfg_attr(feature = "cli", arg(long, help_heading = "Data"))]
    pub one_y_per_x: bool,
    /// A line with a score and no label is desirable from this score on, else undesirable
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            value_name = "X",
            allow_negative_numbers = true,
            help_heading = "Data"
        )
    )]
    pub score_threshold: Option<f64>,
    /// Text between prompt and desirable completion, for losses with control tokens [default: <|good|>]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT", help_heading = "Data"))]
    pub control_desirable: Option<String>,
    /// The same for undesirable ones [default: <|bad|>]; both "": the prompts end in theirs already
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT", help_heading = "Data"))]
    pub control_undesirable: Option<String>,
    /// Order of the examples: shuffled (anew each epoch) or file
    #[cfg_attr(feature = "cli", arg(long, value_name = "ORDER", default_value_t = TrainConfig::default().order, help_heading = "Data"))]
    pub order: Order,

    /// Loss, by its name in `halo losses`
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", default_value_t = TrainConfig::default().loss, help_heading = "Loss"))]
    pub loss: String,
    /// The loss's parameters by name; on the command line `--set key=value`
    #[cfg_attr(feature = "cli", arg(skip))]
    pub loss_parameters: Params,
    /// Derive the class weights from the counts of labels, so that desirable and undesirable examples weigh as 'B' to 1; 1 to 1.5
    #[cfg_attr(feature = "cli", arg(long, value_name = "B", help_heading = "Loss"))]
    pub class_balance: Option<f64>,
    /// Parameters of the loss that change over the run: to, shape (linear, cosine, geometric), start and end; on the command line
    /// `--ramp key=to`
    #[cfg_attr(feature = "cli", arg(skip))]
    pub loss_schedule: BTreeMap<String, Ramp>,
    /// Move the reference towards the policy by this share at every so many steps, after the update or before: TR-DPO 0.6:512, humanline 1:1:before
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "MIX:EVERY", help_heading = "Loss")
    )]
    pub reference_sync: Option<ReferenceSync>,
    /// Over which examples a reference point is shared: step or microbatch [default: step; microbatch for mismatch trl and halos]
    #[cfg_attr(feature = "cli", arg(long, value_name = "SCOPE", value_parser = parse_scope, help_heading = "Loss"))]
    pub reference_point_scope: Option<Scope>,
    /// How mismatched completions for the reference point are found: rotate, trl or halos
    #[cfg_attr(feature = "cli", arg(long, value_name = "HOW", default_value_t = TrainConfig::default().mismatch, help_heading = "Loss"))]
    pub mismatch: Mismatch,

    /// Examples (or pairs) per micro-batch
    #[cfg_attr(feature = "cli", arg(long = "batch-size", value_name = "N", default_value_t = TrainConfig::default().per_device_train_batch_size, help_heading = "Training"))]
    pub per_device_train_batch_size: usize,
    /// Micro-batches per optimizer step
    #[cfg_attr(feature = "cli", arg(long = "grad-accum", value_name = "N", default_value_t = TrainConfig::default().gradient_accumulation_steps, help_heading = "Training"))]
    pub gradient_accumulation_steps: usize,
    /// Optimizer steps; instead of epochs
    #[cfg_attr(
        feature = "cli",
        arg(long = "steps", value_name = "N", help_heading = "Training")
    )]
    pub max_steps: Option<u64>,
    /// Passes over the data
    #[cfg_attr(feature = "cli", arg(long = "epochs", value_name = "X", default_value_t = TrainConfig::default().num_train_epochs, help_heading = "Training"))]
    pub num_train_epochs: f64,
    /// Peak learning rate
    #[cfg_attr(feature = "cli", arg(long = "lr", value_name = "X", default_value_t = TrainConfig::default().learning_rate, help_heading = "Training"))]
    pub learning_rate: f64,
    /// Learning rate after the warm-up: constant, linear or cosine
    #[cfg_attr(feature = "cli", arg(long = "schedule", value_name = "NAME", default_value_t = TrainConfig::default().lr_scheduler_type, help_heading = "Training"))]
    pub lr_scheduler_type: Schedule,
    /// Steps over which the learning rate rises from zero
    #[cfg_attr(feature = "cli", arg(long = "warmup", value_name = "N", default_value_t = TrainConfig::default().warmup_steps, help_heading = "Training"))]
    pub warmup_steps: u64,
    /// How AdamW keeps its two moments: adamw, 8 bytes a parameter in f32, or adamw_8bit, 2 bytes, for full tuning where memory is short
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", default_value_t = TrainConfig::default().optim, help_heading = "Training"))]
    pub optim: String,
    /// Decoupled weight decay, not on norms and biases
    #[cfg_attr(feature = "cli", arg(long, value_name = "X", default_value_t = TrainConfig::default().weight_decay, help_heading = "Training"))]
    pub weight_decay: f64,
    /// Scale the gradient down to this global norm; 0 leaves it
    #[cfg_attr(feature = "cli", arg(long, value_name = "X", default_value_t = TrainConfig::default().max_grad_norm, help_heading = "Training"))]
    pub max_grad_norm: f64,
    /// AdamW's decay rate of the first moment
    #[cfg_attr(feature = "cli", arg(long, value_name = "X", default_value_t = TrainConfig::default().adam_beta1, help_heading = "Training"))]
    pub adam_beta1: f64,
    /// AdamW's decay rate of the second moment
    #[cfg_attr(feature = "cli", arg(long, value_name = "X", default_value_t = TrainConfig::default().adam_beta2, help_heading = "Training"))]
    pub adam_beta2: f64,
    /// Added to the root of AdamW's second moment
    #[cfg_attr(feature = "cli", arg(long, value_name = "X", default_value_t = TrainConfig::default().adam_epsilon, help_heading = "Training"))]
    pub adam_epsilon: f64,
    /// Seed of the order, the pairing and fresh adapters
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = TrainConfig::default().seed, help_heading = "Training"))]
    pub seed: u64,

    /// Device to compute on: cpu, cuda:0
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", default_value_t = TrainConfig::default().device, help_heading = "Machine"))]
    pub device: String,
    /// Numbers to compute with: f32, or bf16 on a GPU
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", default_value_t = TrainConfig::default().dtype, help_heading = "Machine"))]
    pub dtype: String,
    /// Keep only each block's input for backward: less memory, about a third more work
    #[cfg_attr(feature = "cli", arg(long, help_heading = "Machine"))]
    pub gradient_checkpointing: bool,
    /// Compute the reference's log-probabilities first, into a cache, and let the reference's weights go
    #[cfg_attr(feature = "cli", arg(long, help_heading = "Machine"))]
    pub precompute_ref_log_probs: bool,
    /// The cache's file [default: reference.cache in the run's folder]
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "FILE", help_heading = "Machine")
    )]
    pub reference_cache: Option<PathBuf>,

    /// Folder for the run: metrics, checkpoints and the trained model
    #[cfg_attr(
        feature = "cli",
        arg(
            long = "out",
            value_name = "DIR",
            default_value = "",
            hide_default_value = true,
            value_parser = OsStringValueParser::new().map(PathBuf::from),
            help_heading = "Run"
        )
    )]
    pub output_dir: PathBuf,
    /// Steps between checkpoints
    #[cfg_attr(feature = "cli", arg(long = "save-every", value_name = "N", default_value_t = TrainConfig::default().save_steps, help_heading = "Run"))]
    pub save_steps: u64,
    /// Checkpoints to keep
    #[cfg_attr(feature = "cli", arg(long = "keep", value_name = "N", default_value_t = TrainConfig::default().save_total_limit, help_heading = "Run"))]
    pub save_total_limit: usize,
    /// Write every example's log-probabilities to examples.jsonl, for the inspector
    #[cfg_attr(feature = "cli", arg(long, help_heading = "Run"))]
    pub record_examples: bool,
}

impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            model: PathBuf::new(),
            reference: None,
            lora_r: None,
            lora_alpha: None,
            lora_target_modules: None,
            lora_layers: None,
            data: Vec::new(),
            max_length: 1024,
            max_prompt_length: None,
            max_completion_length: None,
            one_y_per_x: false,
            score_threshold: None,
            control_desirable: None,
            control_undesirable: None,
            order: Order::Shuffled,
            loss: halo_loss::registry()[0].name.to_string(),
            loss_parameters: Params::new(),
            class_balance: None,
            loss_schedule: BTreeMap::new(),
            reference_sync: None,
            reference_point_scope: None,
            mismatch: Mismatch::Rotate,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 1,
            max_steps: None,
            num_train_epochs: 1.0,
            learning_rate: 1e-6,
            lr_scheduler_type: Schedule::Linear,
            warmup_steps: 0,
            optim: Optim::default().name().into(),
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            seed: 42,
            device: "cpu".into(),
            dtype: "f32".into(),
            gradient_checkpointing: false,
            precompute_ref_log_probs: false,
            reference_cache: None,
            output_dir: PathBuf::new(),
            save_steps: 500,
            save_total_limit: 2,
            record_examples: false,
        }
    }
}

impl TrainConfig {
    /// Full fine-tuning, or the adapters that the keys describe.
    pub fn training(&self) -> Training {
        let Some(rank) = self.lora_r else {
            return Training::Full;
        };
        let mut lora = LoraConfig::all_linear(rank, self.lora_alpha.unwrap_or(2.0 * rank as f64));
        if let Some(modules) = &self.lora_target_modules {
            lora.target_modules = modules.clone();
        }
        lora.layers = self.lora_layers.clone();
        Training::Lora(lora)
    }

    /// What the training machine needs to know.
    pub fn plan(&self) -> RunPlan {
        RunPlan {
            batch_size: self.per_device_train_batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            steps: self.max_steps,
            epochs: self.num_train_epochs,
            seed: self.seed,
            order: self.order,
            mismatch: self.mismatch,
            scope: self.reference_point_scope.unwrap_or(self.mismatch.scope()),
            learning_rate: self.learning_rate,
            schedule: self.lr_scheduler_type,
            warmup_steps: self.warmup_steps,
            save_every: Some(self.save_steps),
            loss_schedule: self.loss_schedule.clone(),
            reference_sync: self.reference_sync,
            ..RunPlan::default()
        }
    }

    /// Clipping and AdamW.
    pub(crate) fn optimizer(&self) -> Result<OptimizerConfig> {
        Ok(OptimizerConfig {
            optim: Optim::parse(&self.optim)?,
            adam_beta1: self.adam_beta1,
            adam_beta2: self.adam_beta2,
            adam_epsilon: self.adam_epsilon,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
        })
    }

    /// Where the reference's log-probabilities are kept, if they are.
    pub(crate) fn cache_path(&self) -> Option<PathBuf> {
        match (&self.reference_cache, self.precompute_ref_log_probs) {
            (Some(path), _) => Some(path.clone()),
            (None, true) => Some(self.output_dir.join("reference.cache")),
            (None, false) => None,
        }
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// No such file, malformed TOML, or an unknown key (with line and candidates).
    pub fn read_table(path: &Path) -> Result<toml::Table> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        text.parse().map_err(|e: toml::de::Error| {
            let message = format!("{}: {e}", path.display());
            Error::parameter(message.trim_end())
        })
    }
}
