//! One transformer block: what it is, its forward, and what it keeps for its backward.

use halo_kernels::attention::Shape;

use super::linear::Linear;
use super::norm::RmsNorm;
use super::view::View;
use crate::Result;
use crate::array::Array;
use crate::ops::elementwise::{add, leading};
use crate::ops::{Indices, attention, rope, swiglu};

mod backward;

/// x ← x + o(attention(norm(x))); x ← x + down(silu(gate(norm(x))) ∘ up(norm(x))).
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) input_norm: RmsNorm,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) qk_norm: Option<(RmsNorm, RmsNorm)>,
    pub(crate) o: Linear,
    pub(crate) post_norm: RmsNorm,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) shape: Shape,
    pub(crate) window: Option<usize>,
}

/// What backward cannot cheaply rebuild, for the gradient rows only (G).
pub(crate) struct Saved {
    x: Array,    // (G, D)
    rstd: Array, // (G)
    heads: Heads,
    o: Array,        // (G, H·E)
    lse: Array,      // (G, H)
    mid: Array,      // (G, D), the residual after attention
    mid_rstd: Array, // (G)
    gate: Array,     // (G, F)
    up: Array,       // (G, F)
}

/// Queries, keys and values as attention reads them, and what their norms (qwen3) need to go back.
pub(crate) struct Heads {
    pub(crate) q: Array, // (N, H·E), after norm and rope
    pub(crate) k: Array, // (N, K·E), after norm and rope
    pub(crate) v: Array, // (N, K·E)
    raw: Option<Raw>,
}

struct Raw {
    q: Array,
    q_rstd: Array, // (N·H)
    k: Array,
    k_rstd: Array, // (N·K)
}

impl Block {
    /// All rows of a pack: x (N, D) → y (N, D); what backward needs, if asked for.
    pub(crate) fn forward(
        &self,
        x: Array,
        view: &View,
        save: bool,
    ) -> Result<(Array, Option<Saved>)> {
        let mut lse = None;
        let (y, state) = self.run(x, &view.positions, &view.rope, |heads| {
            let (o, logsumexp) = self.attend(heads, view)?;
            lse = Some(logsumexp);
            Ok(o)
        })?;
        let (true, Some(lse)) = (save, lse) else {
            return Ok((y, None));
        };
        let g = view.grad_rows;
        let Heads { q, k, v, raw } = &state.heads;
        let saved = Saved {
            x: leading(&state.x, g)?,
            rstd: leading(&state.rstd, g)?,
            heads: Heads {
                q: leading(q, g)?,
                k: leading(k, g)?,
                v: leading(v, g)?,
                raw: match raw {
                    Some(raw) => Some(Raw {
                        q: leading(&raw.q, g)?,
                        q_rstd: leading(&raw.q_rstd, g * self.shape.heads)?,
                        k: leading(&raw.k, g)?,
                        k_rstd: leading(&raw.k_rstd, g * self.shape.kv_heads)?,
                    }),
                    None => None,
                },
            },
            o: leading(&state.o, g)?,
            lse: leading(&lse, g)?,
            mid: leading(&state.mid, g)?,
            mid_rstd: leading(&state.mid_rstd, g)?,
            gate: leading(&state.gate, g)?,
            up: leading(&state.up, g)?,
        };
        Ok((y, Some(saved)))
    }

    /// Attention over a view's segments → o (N, H·E) and the log-sum-exp (N, H).
    pub(crate) fn attend(&self, heads: &Heads, view: &View) -> Result<(Array, Array)> {
        let Heads { q, k, v, .. } = heads;
        attention::forward(q, k, v, view.layout(self.window), &self.shape)
    }

    /// The block with any attention: `attend` sees queries, keys and values after rope.
    pub(crate) fn run(
        &self,
        x: Array,
        positions: &Indices,
        table: &rope::Table,
        attend: impl FnOnce(&Heads) -> Result<Array>,
    ) -> Result<(Array, State)> {
        let (h, rstd) = self.input_norm.forward(&x)?;
        let heads = self.heads(&h, positions, table)?;
        drop(h);
        let o = attend(&heads)?;
        let mid = self.o.forward(&o)?;
        let (h, mid_rstd) = self.post_norm.forward_added(&mid, &x)?;
        let (gate, up) = (self.gate.forward(&h)?, self.up.forward(&h)?);
        drop(h);
        let y = self.down.forward(&self.activation(&gate, &up)?)?;
        add(&y, &mid)?;
        Ok((
            y,
            State {
                x,
                rstd,
                heads,
                o,
                mid,
                mid_rstd,
                gate,
                up,
            },
        ))
    }

    fn heads(&self, h: &Array, positions: &Indices, table: &rope::Table) -> Result<Heads> {
        let (mut q, mut k, v) = (self.q.forward(h)?, self.k.forward(h)?, self.v.forward(h)?);
        let mut raw = None;
        if let Some((q_norm, k_norm)) = &self.qk_norm {
            let (q_normed, q_rstd) = q_norm.forward(&q)?;
            let (k_normed, k_rstd) = k_norm.forward(&k)?;
            raw = Some(Raw {
                q,
                q_rstd,
                k,
                k_rstd,
            });
            (q, k) = (q_normed, k_normed);
        }
        let Shape {
            heads, kv_heads, ..
        } = self.shape;
        rope::apply(&q, heads, positions, table)?;
        rope::apply(&k, kv_heads, positions, table)?;
        Ok(Heads { q, k, v, raw })
    }

    /// silu(gate) ∘ up, (N, F).
    fn activation(&self, gate: &Array, up: &Array) -> Result<Array> {
        let out = gate.like()?;
        swiglu::forward(gate, up, &out)?;
        Ok(out)
    }

    /// The linear layers, in the order of [`LINEARS`](super::config::LINEARS).
    pub(crate) fn linears(&self) -> [&Linear; 7] {
        let Block {
            q,
            k,
            v,
            o,
            gate,
            up,
            down,
            ..
        } = self;
        [q, k, v, o, gate, up, down]
    }

    /// As [`Block::linears`].
    pub(crate) fn linears_mut(&mut self) -> [&mut Linear; 7] {
        let Block {
            q,
            k,
            v,
            o,
            gate,
            up,
            down,
            ..
        } = self;
        [q, k, v, o, gate, up, down]
    }

    pub(crate) fn frozen(&self) -> Result<Block> {
        Ok(Block {
            input_norm: self.input_norm.frozen()?,
            q: self.q.frozen()?,
            k: self.k.frozen()?,
            v: self.v.frozen()?,
            qk_norm: match &self.qk_norm {
                Some((q, k)) => Some((q.frozen()?, k.frozen()?)),
                None => None,
            },
            o: self.o.frozen()?,
            post_norm: self.post_norm.frozen()?,
            gate: self.gate.frozen()?,
            up: self.up.frozen()?,
            down: self.down.frozen()?,
            shape: self.shape,
            window: self.window,
        })
    }
}

/// A forward's intermediate values, all rows.
pub(crate) struct State {
    x: Array,
    rstd: Array,
    heads: Heads,
    o: Array,
    mid: Array,
    mid_rstd: Array,
    gate: Array,
    up: Array,
}
