"""From a training loop's tensors to the columns of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._api import HALO_ROLE_MISMATCH, HALO_ROLE_SCORED
from .ops import COLUMNS, row_count

def columns(
    logps: Tensor,
    *,
    completion_mask: Tensor | None = None,
    ref_logps: Tensor | None = None,
    old_logps: Tensor | None = None,
    **rows: Tensor | None,
) -> list[Tensor | None]:
    """Columns in the operators' order.

    logps and its kin are (R), sums over completion tokens, or (R, T), one a token, of which completion_mask (R, T) counts some.
    rows: the other columns (R) by the library's names.
    """
    given: dict[str, Any] = {name: value for name, value in rows.items() if value is not None}
    many = {"logp": logps, "ref_logp": ref_logps, "old_logp": old_logps}
    many = {name: value for name, value in many.items() if value is not None}
    if logps.ndim not in (1, 2):
        raise ValueError(f"logps has the shape {tuple(logps.shape)}; (rows) or (rows, tokens) is read")
    for name, value in many.items():
        if value.shape != logps.shape:
            message = f"{name}s has the shape {tuple(value.shape)}, but logps has {tuple(logps.shape)}"
            raise ValueError(message)
        given[f"token_{name}" if logps.ndim == 2 else name] = value.reshape(-1)
    if logps.ndim == 2:
        count, width = logps.shape
        given["offsets"] = torch.arange(count + 1, dtype=torch.int64) * width
        if completion_mask is not None:
            if completion_mask.shape != logps.shape:
                message = f"completion_mask has the shape {tuple(completion_mask.shape)}, but logps has {tuple(logps.shape)}"
                raise ValueError(message)
            given["token_mask"] = (completion_mask != 0).reshape(-1)
    elif completion_mask is not None:
        raise ValueError("completion_mask says which tokens count, but logps (rows) are sums over tokens already")
    return [given.get(name) for name in COLUMNS]


def joined(scored: list[Tensor | None], mismatched: list[Tensor | None]) -> list[Tensor | None]:
    """Scored rows, then mismatched ones, with their roles: what a reference point may read of a step."""
    both: dict[str, Tensor] = {}
    for name, first, second in zip(COLUMNS, scored, mismatched):
        if first is None or second is None:
            continue
        if name == "offsets":
            both[name] = torch.cat([first, first[-1] + second[1:]])
        else:
            both[name] = torch.cat([first, second.to(first)])
    counts = [row_count(scored), row_count(mismatched)]
    roles = [
        torch.full((count,), role, dtype=torch.uint8)
        for count, role in zip(counts, (HALO_ROLE_SCORED, HALO_ROLE_MISMATCH))
    ]
    both["role"] = torch.cat(roles)
    return [both.get(name) for name in COLUMNS]
