"""The reference point of a step, as a training loop meets it: sums of its rows over all ranks, finished once."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..refpoints import RefPoint
from . import ops, ranks


@torch.compiler.assume_constant_result
def source(name: str, params: str) -> str:
    """What a loss's estimator reads: "mismatched" completions, "matched" ones, or "none"."""
    return _facts(name, params)[0]


@torch.compiler.assume_constant_result
def remembers(name: str, params: str) -> bool:
    """Whether the estimator has a memory of earlier steps, which somebody must keep."""
    return _facts(name, params)[1]


@lru_cache(maxsize=64)
def _facts(name: str, params: str) -> tuple[str, bool]:
    loss = ops.loss_of(name, params)
    described = loss.describe()["reference_point"]
    if described is None or described["source"] == "none":
        return "none", False
    point = RefPoint.of_loss(loss)
    point.finish([0.0] * point.width())
    return described["source"], bool(json.loads(point.save())["memory"])


def of_step(
    spec: tuple[str, str],
    rows: list[Tensor | None],
    *,
    keeper: RefPoint | None,
    groups: int,
    process_group: Any,
) -> tuple[Tensor, Tensor]:
    """(z0 of each row (R + mismatched), [value, raw, clamped]), float64. All ranks must call it.

    keeper: the estimator with its memory, which moves; without one the point is this step's alone.
    """
    if keeper is not None:
        return _kept(keeper, rows, groups, process_group)
    if remembers(*spec):
        raise ValueError(
            f"{spec[0]}'s reference point remembers earlier steps: keep one halo.RefPoint.of_loss(loss) for the whole run "
            "and pass it as point (its save() belongs into the checkpoint)"
        )
    sums = ranks.total(ops.reference_sums(*rows, groups, *spec), process_group)
    return ops.reference_point(*rows, sums, *spec)


@torch.compiler.disable
def _kept(point: RefPoint, rows: list[Tensor | None], groups: int, process_group: Any) -> tuple[Tensor, Tensor]:
    """Not traced: a graph has no memory."""
    acc = torch.from_numpy(point.accumulate(groups=groups, **ops.arrays(rows)))
    sums = ranks.total(acc.to(ops.lead(rows)[1].device), process_group)
    return ops.place(point, rows, sums)
