"""Losses for autograd. Value and gradient come from one call in forward; backward multiplies.

    out = halo.torch.kto_loss(policy_logps, ref_logps, labels, kl_logps, ref_kl_logps, beta=0.1)
    out.loss.backward()

Log-probabilities are sums over completion tokens in nats, (rows), or those of tokens, (rows, tokens), with a completion_mask.
They may live on any device and have any floating dtype; the mathematics is float64 on the host, as everywhere in halo.
torch.compile traces these functions without a break, unless a RefPoint with a memory is passed.

Where torch.distributed is initialised, counts and reference points are those of all ranks, so every rank must call, also one
with no rows. Gradients of ranks have to be SUMMED for the gradient of the whole batch; DistributedDataParallel takes their
mean, which gradient_reduce="mean" (the default) makes up for. Say "sum" if your loop sums.
"""

from __future__ import annotations

from .heads import head_logps
from .losses import Output, kto_loss, loss, pair_loss
from .ranks import GradientReduce

__all__ = ["GradientReduce", "Output", "head_logps", "kto_loss", "loss", "pair_loss"]
