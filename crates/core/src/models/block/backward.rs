//! The block's backward, written out: from the end to the beginning, each layer's forward input rebuilt where that is cheap.

use halo_kernels::attention::Shape;

use super::{Block, Heads, Saved};
use crate::Result;
use crate::array::Array;
use crate::bank::Bank;
use crate::models::view::View;
use crate::ops::{attention, rope, swiglu};

impl Block {
    /// dy (G, D) → dx (G, D); parameters' gradients go to the bank.
    pub(crate) fn backward(
        &self,
        saved: Saved,
        dy: Array,
        view: &View,
        bank: &Bank,
    ) -> Result<Array> {
        let dmid = self.backward_mlp(&saved, dy, bank)?;
        let Saved {
            x,
            rstd,
            heads,
            o,
            lse,
            ..
        } = saved;

        let do_ = o.zeros_like()?;
        self.o.backward(&o, &dmid, &do_, bank)?;
        let Heads { q, k, v, .. } = &heads;
        let layout = view.layout(self.window);
        let [dq, dk, dv] = attention::backward([q, k, v], &o, &lse, &do_, layout, &self.shape)?;
        drop((o, do_, lse));
        let [dq, dk] = self.backward_heads(heads, [dq, dk], view, bank)?;

        let (h, _) = self.input_norm.forward(&x)?;
        let dh = h.zeros_like()?;
        self.q.backward(&h, &dq, &dh, bank)?;
        self.k.backward(&h, &dk, &dh, bank)?;
        self.v.backward(&h, &dv, &dh, bank)?;
        // dmid is the residual's gradient: the norm's part is added to it.
        self.input_norm.backward(&x, &rstd, &dh, &dmid, bank)?;
        Ok(dmid)
    }

    fn backward_mlp(&self, saved: &Saved, dy: Array, bank: &Bank) -> Result<Array> {
        let activation = self.activation(&saved.gate, &saved.up)?;
        let dactivation = activation.zeros_like()?;
        self.down.backward(&activation, &dy, &dactivation, bank)?;
        drop(activation);
        let (dgate, dup) = (saved.gate.like()?, saved.up.like()?);
        swiglu::backward(&saved.gate, &saved.up, &dactivation, &dgate, &dup)?;
        drop(dactivation);
        let (h, _) = self.post_norm.forward(&saved.mid)?;
        let dh = h.zeros_like()?;
        self.gate.backward(&h, &dgate, &dh, bank)?;
        drop(dgate);
        self.up.backward(&h, &dup, &dh, bank)?;
        drop(dup);
        self.post_norm
            .backward(&saved.mid, &saved.mid_rstd, &dh, &dy, bank)?;
        Ok(dy)
    }

    /// Back through rope and, in qwen3, the heads' norms.
    fn backward_heads(
        &self,
        heads: Heads,
        [dq, dk]: [Array; 2],
        view: &View,
        bank: &Bank,
    ) -> Result<[Array; 2]> {
        let Shape {
            heads: h,
            kv_heads: k,
            ..
        } = self.shape;
        rope::apply_transposed(&dq, h, &view.positions, &view.rope)?;
        rope::apply_transposed(&dk, k, &view.positions, &view.rope)?;
        let (Some((q_norm, k_norm)), Some(raw)) = (&self.qk_norm, heads.raw) else {
            return Ok([dq, dk]);
        };
        let (dq_raw, dk_raw) = (dq.zeros_like()?, dk.zeros_like()?);
        q_norm.backward(&raw.q, &raw.q_rstd, &dq, &dq_raw, bank)?;
        k_norm.backward(&raw.k, &raw.k_rstd, &dk, &dk_raw, bank)?;
        Ok([dq_raw, dk_raw])
    }
}
