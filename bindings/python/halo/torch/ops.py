"""The library's calls as operators of torch: known to autograd, to torch.compile and to fake tensors.

An operator's inputs are the columns of halo_batch as optional tensors, in the order of the generated table, so that a new
column of the library needs no line here. Numbers go as tensors too: nothing is read back while a graph is being traced.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor

from .. import _api
from ..losses import Counts, Loss, _again
from ..refpoints import RefPoint

COLUMNS = tuple(_api.COLUMNS["halo_batch"])
_FLOATS = frozenset(name for name, (dtype, _) in _api.COLUMNS["halo_batch"].items() if dtype is None)
_INPUTS = ", ".join(f"Tensor? {name}" for name in COLUMNS)


@lru_cache(maxsize=64)
def loss_of(name: str, params: str) -> Loss:
    """The loss of a name and its parameters as JSON; made once, since it never changes."""
    return _again(name, json.loads(params))


def arrays(columns: Sequence[Tensor | None]) -> dict[str, np.ndarray]:
    """Columns in host memory; floats as float64, which is exact. The one place where a GPU is waited for."""
    found = {}
    for name, column in zip(COLUMNS, columns):
        if column is not None:
            dtype = torch.float64 if name in _FLOATS else column.dtype
            found[name] = column.detach().to("cpu", dtype).contiguous().numpy()
    return found


def lead(columns: Sequence[Tensor | None]) -> tuple[int, Tensor]:
    """The column that has a gradient, and where it stands: tokens if they are given, else rows."""
    for name in ("token_logp", "logp"):
        at = COLUMNS.index(name)
        column = columns[at]
        if column is not None:
            return at, column
    raise TypeError("logps are missing")


def row_count(columns: Sequence[Tensor | None]) -> int:
    """How many rows the columns are of."""
    offsets = columns[COLUMNS.index("offsets")]
    return lead(columns)[1].shape[0] if offsets is None else offsets.shape[0] - 1


def _like(column: Tensor) -> torch.dtype:
    """Results have logp's precision, but no less than float32."""
    return torch.promote_types(column.dtype, torch.float32)


# ── Value and gradient


@torch.library.custom_op(
    "halo::evaluate",
    mutates_args=(),
    schema=f"({_INPUTS}, Tensor? counts, str name, str params) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def evaluate(*inputs: Any) -> tuple[Tensor, ...]:
    """(loss (), gradient like the column that has one, rewards (R), zones (R) uint8, metric sums)."""
    *columns, counts, name, params = inputs
    at, column = lead(columns)
    given = None if counts is None else Counts(*counts.tolist())
    result = loss_of(name, params).evaluate(counts=given, **arrays(columns))
    gradient = result.d_token_logp if COLUMNS[at] == "token_logp" else result.d_logp
    floats = {"dtype": _like(column), "device": column.device}
    return (
        torch.tensor(result.loss, **floats),
        torch.from_numpy(gradient).to(**floats),
        torch.from_numpy(result.rewards).to(**floats),
        torch.from_numpy(result.zones).to(column.device),
        torch.from_numpy(result.metric_sums).to(column.device),
    )


@evaluate.register_fake
def _(*inputs: Any) -> tuple[Tensor, ...]:
    *columns, _, name, params = inputs
    _, column = lead(columns)
    rows, dtype = row_count(columns), _like(column)
    return (
        column.new_empty((), dtype=dtype),
        torch.empty_like(column, dtype=dtype),
        column.new_empty(rows, dtype=dtype),
        column.new_empty(rows, dtype=torch.uint8),
        column.new_empty(loss_of(name, params)._width, dtype=torch.float64),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    at, column = lead(inputs[: len(COLUMNS)])
    ctx.at, ctx.count, ctx.dtype = at, len(inputs), column.dtype
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, d_loss: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    """The gradient came with the value; d_loss carries what autograd and loss scaling multiply it with."""
    with torch.no_grad():
        gradient = (d_loss * ctx.saved_tensors[0]).to(ctx.dtype)
    gradients: list[Tensor | None] = [None] * ctx.count
    gradients[ctx.at] = once(gradient)
    return tuple(gradients)


def once(gradient: Tensor) -> Tensor:
    """A gradient that fails when it is differentiated itself."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _Once.apply(gradient.requires_grad_())
    return gradient


class _Once(torch.autograd.Function):
    """A gradient made with create_graph=True: differentiating it again would give zeros, so it fails.

    torch's once_differentiable lets this pass where the gradient that came in was a constant, as from loss.backward().
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Tensor:
        raise RuntimeError("halo's losses are differentiated once: second derivatives are not computed")


evaluate.register_autograd(_backward, setup_context=_keep)


# ── What a step's sums are divided by


@torch.library.custom_op("halo::count", mutates_args=(), schema=f"({_INPUTS}, str name, str params) -> Tensor")
def count(*inputs: Any) -> Tensor:
    """float64 (3): what these rows add to the counts of their step."""
    *columns, name, params = inputs
    counts = loss_of(name, params).count(**arrays(columns))
    return torch.tensor(counts, dtype=torch.float64, device=lead(columns)[1].device)


@count.register_fake
def _(*inputs: Any) -> Tensor:
    return lead(inputs[: len(COLUMNS)])[1].new_empty(3, dtype=torch.float64)


# ── The reference point of a step


@torch.library.custom_op(
    "halo::reference_sums",
    mutates_args=(),
    schema=f"({_INPUTS}, int groups, str name, str params) -> Tensor",
)
def reference_sums(*inputs: Any) -> Tensor:
    """float64 (width): these rows' sums, to be added over the ranks."""
    *columns, groups, name, params = inputs
    point = RefPoint.of_loss(loss_of(name, params))
    acc = point.accumulate(groups=groups, **arrays(columns))
    return torch.from_numpy(acc).to(lead(columns)[1].device)


@reference_sums.register_fake
def _(*inputs: Any) -> Tensor:
    *columns, groups, name, params = inputs
    width = RefPoint.of_loss(loss_of(name, params)).width(groups)
    return lead(columns)[1].new_empty(width, dtype=torch.float64)


@torch.library.custom_op(
    "halo::reference_point",
    mutates_args=(),
    schema=f"({_INPUTS}, Tensor sums, str name, str params) -> (Tensor, Tensor)",
)
def reference_point(*inputs: Any) -> tuple[Tensor, Tensor]:
    """(z0 of each row (R), [value, raw, clamped]), both float64, of sums of all ranks; without a memory."""
    *columns, sums, name, params = inputs
    return place(RefPoint.of_loss(loss_of(name, params)), columns, sums)


@reference_point.register_fake
def _(*inputs: Any) -> tuple[Tensor, Tensor]:
    columns = inputs[: len(COLUMNS)]
    column = lead(columns)[1]
    return column.new_empty(row_count(columns), dtype=torch.float64), column.new_empty(3, dtype=torch.float64)


def place(point: RefPoint, columns: Sequence[Tensor | None], sums: Tensor) -> tuple[Tensor, Tensor]:
    """Finishes a point, which moves if it remembers, and reads it for each row."""
    value = point.finish(sums.cpu().numpy())
    rows = point.apply(**arrays(columns))
    device = lead(columns)[1].device
    return torch.from_numpy(rows).to(device), torch.tensor(value, dtype=torch.float64, device=device)
