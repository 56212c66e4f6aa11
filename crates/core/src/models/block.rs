//! One transformer block: what it is, its forward, and what it keeps for its backward.

use candle_core::Tensor;
use halo_kernels::attention::{self, Shape};
use halo_kernels::rope::{self, RopeTable};
use halo_kernels::swiglu;

use super::linear::Linear;
use super::norm::RmsNorm;
use super::rows::{add, leading};
use super::view::View;
use crate::Result;
use crate::storage::{self, edit, values};

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
    x: Tensor,      // (G, D)
    rstd: Vec<f32>, // (G)
    heads: Heads,
    o: Tensor,          // (G, H·E)
    lse: Vec<f32>,      // (G, H)
    mid: Tensor,        // (G, D), the residual after attention
    mid_rstd: Vec<f32>, // (G)
    gate: Tensor,       // (G, F)
    up: Tensor,         // (G, F)
}

/// Queries, keys and values as attention reads them, and what their norms (qwen3) need to go back.
struct Heads {
    q: Tensor, // (N, H·E), after norm and rope
    k: Tensor, // (N, K·E), after norm and rope
    v: Tensor, // (N, K·E)
    raw: Option<Raw>,
}

struct Raw {
    q: Tensor,
    q_rstd: Vec<f32>, // (N·H)
    k: Tensor,
    k_rstd: Vec<f32>, // (N·K)
}

impl Block {
    /// All rows of a pack: x (N, D) → y (N, D); what backward needs, if asked for.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        view: &View,
        save: bool,
    ) -> Result<(Tensor, Option<Saved>)> {
        let mut lse = Vec::new();
        let (y, state) = self.run(x, &view.positions, &view.rope, |q, k, v| {
            let (o, logsumexp) = self.attend(q, k, v, view)?;
            lse = logsumexp;
            Ok(o)
        })?;
        if !save {
            return Ok((y, None));
        }
        let g = view.grad_rows;
        let head = |t: &Tensor| leading(t, g);
        let cut = |mut values: Vec<f32>, per_row: usize| {
            values.truncate(g * per_row);
            values
        };
        let Heads { q, k, v, raw } = &state.heads;
        let saved = Saved {
            x: head(&state.x)?,
            rstd: cut(state.rstd, 1),
            heads: Heads {
                q: head(q)?,
                k: head(k)?,
                v: head(v)?,
                raw: match raw {
                    Some(raw) => Some(Raw {
                        q: head(&raw.q)?,
                        q_rstd: cut(raw.q_rstd.clone(), self.shape.heads),
                        k: head(&raw.k)?,
                        k_rstd: cut(raw.k_rstd.clone(), self.shape.kv_heads),
                    }),
                    None => None,
                },
            },
            o: head(&state.o)?,
            lse: cut(lse, self.shape.heads),
            mid: head(&state.mid)?,
            mid_rstd: cut(state.mid_rstd, 1),
            gate: head(&state.gate)?,
            up: head(&state.up)?,
        };
        Ok((y, Some(saved)))
    }

    /// Attention over a view's segments: q (N, H·E), k and v (N, K·E) → o (N, H·E) and the log-sum-exp (N, H).
    pub(crate) fn attend(
        &self,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        view: &View,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut o = vec![0f32; q.len()];
        let mut lse = vec![0f32; view.ids.len() * self.shape.heads];
        let layout = view.layout(self.window);
        attention::forward(q, k, v, &mut o, &mut lse, layout, &self.shape)?;
        Ok((o, lse))
    }

    /// The block with any attention: `attend(q, k, v) → o` sees (N, heads·E) slices after rope.
    pub(crate) fn run(
        &self,
        x: Tensor,
        positions: &[u32],
        table: &RopeTable,
        attend: impl FnOnce(&[f32], &[f32], &[f32]) -> Result<Vec<f32>>,
    ) -> Result<(Tensor, State)> {
        let n = x.dim(0)?;
        let (h, rstd) = self.input_norm.forward(&x)?;
        let heads = self.heads(&h, positions, table)?;
        drop(h);
        let o = attend(&values(&heads.q)?, &values(&heads.k)?, &values(&heads.v)?)?;
        let o = storage::tensor(o, (n, self.shape.heads * self.shape.head_dim))?;
        let mid = self.o.forward(&o)?;
        add(&mid, &x)?;

        let (h, mid_rstd) = self.post_norm.forward(&mid)?;
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

    fn heads(&self, h: &Tensor, positions: &[u32], table: &RopeTable) -> Result<Heads> {
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
        edit(&q, |q| Ok(rope::apply(q, heads, positions, table)?))?;
        edit(&k, |k| Ok(rope::apply(k, kv_heads, positions, table)?))?;
        Ok(Heads { q, k, v, raw })
    }

    /// silu(gate) ∘ up, (N, F).
    fn activation(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        let mut out = vec![0f32; gate.elem_count()];
        swiglu::forward(&values(gate)?, &values(up)?, &mut out)?;
        storage::tensor(out, gate.shape())
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
    x: Tensor,
    rstd: Vec<f32>,
    heads: Heads,
    o: Tensor,
    mid: Tensor,
    mid_rstd: Vec<f32>,
    gate: Tensor,
    up: Tensor,
}
