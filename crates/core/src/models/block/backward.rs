//! The block's backward, written out: from the end to the beginning, each layer's forward input rebuilt where that is cheap.

use candle_core::Tensor;
use halo_kernels::attention::{self, Shape};
use halo_kernels::{rope, swiglu};

use super::{Block, Heads, Saved};
use crate::Result;
use crate::bank::Bank;
use crate::models::rows::zeros_like;
use crate::models::view::View;
use crate::storage::{self, values};

impl Block {
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
            view.layout(self.window),
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
}
