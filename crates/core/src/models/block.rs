//! One transformer block: forward, and backward written out.

use candle_core::Tensor;
use halo_kernels::attention::{self, Shape};
use halo_kernels::rope::{self, RopeTable};
use halo_kernels::swiglu;

use super::linear::Linear;
use super::norm::RmsNorm;
use super::view::View;
use crate::Result;
use crate::bank::Bank;
use crate::storage::{self, edit, values};

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
            let n = view.ids.len();
            lse = vec![0f32; n * self.shape.heads];
            let mut o = vec![0f32; q.len()];
            let layout = &view.layouts(self.window).all;
            attention::forward(q, k, v, &mut o, &mut lse, layout, &self.shape)?;
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

    /// dy (G, D) → dx (G, D); parameters' gradients go to the bank.
    pub(crate) fn backward(
        &self,
        saved: Saved,
        dy: Tensor,
        view: &View,
        bank: &Bank,
    ) -> Result<Tensor> {
        let dmid = self.backward_mlp(&saved, dy, bank)?;
        let Saved {
            x,
            rstd,
            heads,
            o,
            lse,
            ..
        } = saved;

        let do_ = zeros_like(&o)?;
        self.o.backward(&o, &dmid, &do_, bank)?;
        let [dq, dk, dv] = self.backward_attention(&heads, &o, &lse, &do_, view)?;
        drop((o, do_, lse));
        let dv = storage::tensor(dv, heads.v.shape())?;
        let [dq, dk] = self.backward_heads(heads, [dq, dk], view, bank)?;

        let (h, _) = self.input_norm.forward(&x)?;
        let dh = zeros_like(&h)?;
        self.q.backward(&h, &dq, &dh, bank)?;
        self.k.backward(&h, &dk, &dh, bank)?;
        self.v.backward(&h, &dv, &dh, bank)?;
        // dmid is the residual's gradient: the norm's part is added to it.
        self.input_norm.backward(&x, &rstd, &dh, &dmid, bank)?;
        Ok(dmid)
    }

    fn backward_mlp(&self, saved: &Saved, dy: Tensor, bank: &Bank) -> Result<Tensor> {
        let (g, f) = saved.gate.dims2()?;
        let activation = self.activation(&saved.gate, &saved.up)?;
        let dactivation = zeros_like(&activation)?;
        self.down.backward(&activation, &dy, &dactivation, bank)?;
        drop(activation);
        let (mut dgate, mut dup) = (vec![0f32; g * f], vec![0f32; g * f]);
        swiglu::backward(
            &values(&saved.gate)?,
            &values(&saved.up)?,
            &values(&dactivation)?,
            &mut dgate,
            &mut dup,
        )?;
        drop(dactivation);
        let (h, _) = self.post_norm.forward(&saved.mid)?;
        let dh = zeros_like(&h)?;
        self.gate
            .backward(&h, &storage::tensor(dgate, (g, f))?, &dh, bank)?;
        self.up
            .backward(&h, &storage::tensor(dup, (g, f))?, &dh, bank)?;
        self.post_norm
            .backward(&saved.mid, &saved.mid_rstd, &dh, &dy, bank)?;
        Ok(dy)
    }

    fn backward_attention(
        &self,
        heads: &Heads,
        o: &Tensor,
        lse: &[f32],
        do_: &Tensor,
        view: &View,
    ) -> Result<[Vec<f32>; 3]> {
        let mut dq = vec![0f32; heads.q.elem_count()];
        let mut dk = vec![0f32; heads.k.elem_count()];
        let mut dv = vec![0f32; heads.v.elem_count()];
        attention::backward(
            &values(&heads.q)?,
            &values(&heads.k)?,
            &values(&heads.v)?,
            &values(o)?,
            lse,
            &values(do_)?,
            &mut dq,
            &mut dk,
            &mut dv,
            &view.layouts(self.window).grad,
            &self.shape,
        )?;
        Ok([dq, dk, dv])
    }

    /// Back through rope and, in qwen3, the heads' norms.
    fn backward_heads(
        &self,
        heads: Heads,
        [mut dq, mut dk]: [Vec<f32>; 2],
        view: &View,
        bank: &Bank,
    ) -> Result<[Tensor; 2]> {
        let positions = &view.positions[..view.grad_rows];
        let Shape {
            heads: h,
            kv_heads: k,
            ..
        } = self.shape;
        rope::apply_transposed(&mut dq, h, positions, &view.rope)?;
        rope::apply_transposed(&mut dk, k, positions, &view.rope)?;
        let dq = storage::tensor(dq, heads.q.shape())?;
        let dk = storage::tensor(dk, heads.k.shape())?;
        let (Some((q_norm, k_norm)), Some(raw)) = (&self.qk_norm, heads.raw) else {
            return Ok([dq, dk]);
        };
        let (dq_raw, dk_raw) = (zeros_like(&dq)?, zeros_like(&dk)?);
        q_norm.backward(&raw.q, &raw.q_rstd, &dq, &dq_raw, bank)?;
        k_norm.backward(&raw.k, &raw.k_rstd, &dk, &dk_raw, bank)?;
        Ok([dq_raw, dk_raw])
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

/// The first rows of a tensor: itself if those are all, else a copy that lets the rest go.
pub(crate) fn leading(t: &Tensor, rows: usize) -> Result<Tensor> {
    let (n, width) = t.dims2()?;
    if rows == n {
        return Ok(t.clone());
    }
    storage::tensor(values(t)?[..rows * width].to_vec(), (rows, width))
}

/// x += y.
pub(crate) fn add(x: &Tensor, y: &Tensor) -> Result<()> {
    let y = values(y)?;
    edit(x, |x| {
        x.iter_mut().zip(y.iter()).for_each(|(x, y)| *x += y);
        Ok(())
    })
}

pub(crate) fn zeros_like(t: &Tensor) -> Result<Tensor> {
    storage::tensor(vec![0f32; t.elem_count()], t.shape())
}

/// Chosen rows of a tensor (N, D).
pub(crate) fn chosen_rows(t: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let (_, width) = t.dims2()?;
    let values = values(t)?;
    let chosen = rows
        .iter()
        .flat_map(|&row| &values[row * width..][..width])
        .copied()
        .collect::<Vec<_>>();
    storage::tensor(chosen, (rows.len(), width))
}
