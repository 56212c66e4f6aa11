//! The decoder: embedding, blocks, head; forward over packs, backward into the bank.

use std::collections::BTreeMap;

use halo_kernels::attention::Shape;
use halo_train::{Answer, Ask, Pack, TokenAnswer};

use super::adapter::{Adapter, LoraConfig, PEFT_SCORE, peft_names};
use super::block::{self, Block};
use super::config::{DecoderConfig, LINEARS, SCORE};
use super::head::{self, Head};
use super::linear::{Linear, Param};
use super::norm::RmsNorm;
use super::view::View;
use crate::array::Array;
use crate::bank::Bank;
use crate::device::Device;
use crate::ops::elementwise::leading;
use crate::ops::{Indices, embedding};
use crate::{Error, Result};

/// A decoder-only language model with explicit forward and backward.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) config: DecoderConfig,
    pub(crate) embedding: Param, // (V, D)
    pub(crate) blocks: Vec<Block>,
    pub(crate) head: Head,
    /// Keep only each block's input and run its forward again in backward: less memory, a third more work.
    pub recompute: bool,
}

/// What a forward with gradient leaves for its backward; consumed by it block by block.
pub struct Tape {
    view: View,
    blocks: Vec<Kept>,
    head: head::Saved,
}

enum Kept {
    All(Box<block::Saved>),
    Input(Array),
}

impl Decoder {
    /// Log-probabilities in nats of a pack's scored tokens, in the order of [`Pack::scores`], and the tape if asked for.
    ///
    /// # Errors
    /// A token outside the vocabulary.
    pub fn forward(&self, pack: &Pack, tape: bool) -> Result<(Vec<f32>, Option<Tape>)> {
        let ([logps, _], tape) = self.run(pack, false, tape)?;
        Ok((logps, tape))
    }

    /// Log-probabilities and log-collisions of the pack's scores, and the tape.
    fn run(
        &self,
        pack: &Pack,
        collisions: bool,
        tape: bool,
    ) -> Result<([Vec<f32>; 2], Option<Tape>)> {
        let tape = tape && pack.grad_scores > 0;
        let view = View::of_pack(pack, &self.config, &self.device())?;
        let mut x = self.embed(&view.ids)?;
        let mut kept = Vec::new();
        for block in &self.blocks {
            let input = (tape && self.recompute).then(|| leading(&x, view.grad_rows));
            let (y, saved) = block.forward(x, &view, tape && !self.recompute)?;
            match (input, saved) {
                (Some(input), _) => kept.push(Kept::Input(input?)),
                (None, Some(saved)) => kept.push(Kept::All(Box::new(saved))),
                (None, None) => {}
            }
            x = y;
        }
        let (graded, rest) = pack.scores.split_at(pack.grad_scores as usize);
        let (scored, saved) = self.head.score(&x, graded, collisions, tape)?;
        let (others, _) = self.head.score(&x, rest, collisions, false)?;
        // Everything is asked for before anything is waited for.
        let parts = [scored, others].map(|part| (part.logps, part.log_collisions));
        let (mut logps, mut log_collisions) = (Vec::new(), Vec::new());
        for (own, own_collisions) in parts {
            logps.extend(own.take()?);
            if let Some(own) = own_collisions {
                log_collisions.extend(own.take()?);
            }
        }
        let tape = saved.map(|head| Tape {
            view,
            blocks: kept,
            head,
        });
        Ok(([logps, log_collisions], tape))
    }

    /// What a forward pass is asked for, and the tape if asked for.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn answer(&self, pack: &Pack, ask: Ask, tape: bool) -> Result<(Answer, Option<Tape>)> {
        let collisions = ask == Ask::Tokens { collisions: true };
        let ([logps, log_collisions], kept) = self.run(pack, collisions, tape)?;
        let answer = match ask {
            Ask::Sums | Ask::Scores => Answer::Logps(pack.sum_logps(&logps)),
            Ask::Tokens { .. } => Answer::Tokens(TokenAnswer {
                logps: pack.by_sequence(&logps),
                log_collisions: match collisions {
                    true => pack.by_sequence(&log_collisions),
                    false => Vec::new(),
                },
            }),
        };
        Ok((answer, kept))
    }

    /// Adds every trained parameter's gradient to the bank, given d loss / d logp of the pack's gradient scores.
    pub fn backward(&self, tape: Tape, dlogps: &[f32], bank: &Bank) -> Result<()> {
        let Tape {
            mut view,
            blocks,
            head,
        } = tape;
        let table = &self.embedding.array;
        let shape = [view.grad_rows, self.config.hidden_size];
        let mut dx = Array::zeros(&self.device(), table.dtype(), shape)?;
        self.head.backward(head, dlogps, &dx, bank)?;
        view.keep_gradient_rows()?;
        for (block, kept) in self.blocks.iter().zip(blocks).rev() {
            let saved = match kept {
                Kept::All(saved) => *saved,
                Kept::Input(x) => block
                    .forward(x, &view, true)?
                    .1
                    .ok_or_else(|| Error::internal("a block saved nothing for its backward"))?,
            };
            dx = block.backward(saved, dx, &view, bank)?;
        }
        if let Some(slot) = self.embedding.slot {
            embedding::backward(&view.ids, &dx, &bank.gradient(slot)?)?;
        }
        Ok(())
    }

    /// The same model without gradients: trained values are copied, frozen ones shared. A reference.
    pub fn frozen(&self) -> Result<Decoder> {
        let embedding = self.embedding.frozen()?;
        let mut head = self.head.frozen()?;
        if self.config.tie_word_embeddings && !self.config.score_head {
            // One tensor, as in the policy: a reference that follows must not come apart.
            head.weight = embedding.clone();
        }
        Ok(Decoder {
            config: self.config.clone(),
            embedding,
            blocks: self
                .blocks
                .iter()
                .map(Block::frozen)
                .collect::<Result<_>>()?,
            head,
            recompute: false,
        })
    }

    /// The base alone.
    pub(crate) fn without_adapters(mut self) -> Decoder {
        self.blocks
            .iter_mut()
            .flat_map(Block::linears_mut)
            .for_each(|linear| linear.adapter = None);
        self
    }

    /// What the model is.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> Device {
        self.embedding.array.device()
    }

    /// Ids (N) → hidden (N, D).
    pub(crate) fn embed(&self, ids: &Indices) -> Result<Array> {
        let vocabulary = self.embedding.array.dim(0)?;
        if let Some(id) = ids.host().iter().find(|&&id| id as usize >= vocabulary) {
            return Err(Error::data(format!(
                "token {id} is outside the model's vocabulary of {vocabulary}"
            )));
        }
        embedding::forward(ids, &self.embedding.array)
    }

    /// Puts a model together from its parameters by Hugging Face and PEFT name.
    pub(crate) fn assemble(
        config: DecoderConfig,
        params: &BTreeMap<String, Param>,
        lora: Option<&LoraConfig>,
    ) -> Result<Decoder> {
        let get = |name: &str| {
            params
                .get(name)
                .cloned()
                .ok_or_else(|| Error::internal(format!("no parameter {name}")))
        };
        let norm = |name: &str| {
            Ok::<_, Error>(RmsNorm {
                weight: get(name)?,
                eps: config.rms_norm_eps,
            })
        };
        let linear = |name: &str| {
            let weight = format!("{name}.weight");
            let [a, b] = peft_names(&weight);
            let adapter = match (lora, params.get(&a), params.get(&b)) {
                (Some(lora), Some(a), Some(b)) => Some(Adapter {
                    a: a.clone(),
                    b: b.clone(),
                    rank: lora.rank,
                    scale: lora.scale(),
                }),
                _ => None,
            };
            Ok::<_, Error>(Linear {
                weight: get(&weight)?,
                bias: params.get(&format!("{name}.bias")).cloned(),
                adapter,
            })
        };
        let shape = Shape {
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            scale: (1.0 / (config.head_dim as f64).sqrt()) as f32,
        };
        let mut blocks = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            let [q, k, v, o, gate, up, down] = LINEARS.map(|part| linear(&name(part)));
            blocks.push(Block {
                input_norm: norm(&name("input_layernorm.weight"))?,
                q: q?,
                k: k?,
                v: v?,
                qk_norm: match config.qk_norm {
                    true => Some((
                        norm(&name("self_attn.q_norm.weight"))?,
                        norm(&name("self_attn.k_norm.weight"))?,
                    )),
                    false => None,
                },
                o: o?,
                post_norm: norm(&name("post_attention_layernorm.weight"))?,
                gate: gate?,
                up: up?,
                down: down?,
                shape,
                window: config.sliding_window[layer],
            });
        }
        let embedding = get("model.embed_tokens.weight")?;
        let weight = match (config.score_head, config.tie_word_embeddings) {
            // trained beside adapters it has PEFT's name
            (true, _) => get(PEFT_SCORE).or_else(|_| get(SCORE))?,
            (false, true) => embedding.clone(),
            (false, false) => get("lm_head.weight")?,
        };
        let head = Head {
            norm: norm("model.norm.weight")?,
            weight,
            scalar: config.score_head,
        };
        Ok(Decoder {
            config,
            embedding,
            blocks,
            head,
            recompute: false,
        })
    }
}
