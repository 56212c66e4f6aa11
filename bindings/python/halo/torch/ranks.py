"""What ranks must agree on: sums over all of them, and how the host reduces gradients."""

from __future__ import annotations

from typing import Any, Literal

import torch.distributed as dist
from torch import Tensor

GradientReduce = Literal["mean", "sum"]


def total(values: Tensor, group: Any = None) -> Tensor:
    """The sum over the ranks of a group; the values themselves where nothing is distributed. All ranks must call it."""
    if not _distributed():
        return values
    summed = values.clone()
    dist.all_reduce(summed, op=dist.ReduceOp.SUM, group=group)
    return summed


def gradient_factor(reduce: GradientReduce, group: Any = None) -> float:
    """What this rank's loss is multiplied with, so that the reduced gradient is that of the whole batch.

    Every rank divides by the global count, so gradients have to be summed. DistributedDataParallel and FSDP take the mean:
    ``"mean"`` makes up for it.
    """
    if reduce not in ("mean", "sum"):
        raise ValueError(f"gradient_reduce = {reduce!r} is not 'mean' or 'sum'")
    return float(dist.get_world_size(group)) if reduce == "mean" and _distributed() else 1.0


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
