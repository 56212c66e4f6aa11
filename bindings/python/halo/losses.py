"""Losses: value and gradient at the log-probabilities, by name."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _api
from ._library import blob, call, ffi, handle, lib, struct, text
from .arrays import Batch, outputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from typing_extensions import Unpack

__all__ = ["Counts", "Loss", "Result", "registry"]


class Counts(NamedTuple):
    """What a step's sums are divided by. Add those of all micro-batches and ranks, element by element."""

    units: float
    """Scored rows, or pairs."""
    tokens: float
    """Completion tokens of them."""
    desirable_tokens: float
    """Those of desirable rows."""


class Result:
    """What a loss says about a batch of R rows with N tokens. Arrays have the dtype of logp."""

    __slots__ = ("_loss", "d_logp", "d_token_logp", "loss", "metric_sums", "rewards", "row_loss", "zones")

    loss: float
    """This batch's share of the global mean."""
    d_logp: np.ndarray | None
    """(R) d loss / d logp, 0 where not scored; None where tokens have gradients of their own."""
    d_token_logp: np.ndarray | None
    """(N) the same a token; None without token columns."""
    row_loss: np.ndarray
    """(R) before the division by the count; of a pair, all of it stands at the chosen row."""
    rewards: np.ndarray
    """(R) beta times log-ratio, or what the loss calls reward, in nats."""
    zones: np.ndarray
    """(R) uint8: halo.LEARNT, halo.ACTIVE or halo.GIVEN_UP."""
    metric_sums: np.ndarray
    """Addable over batches and ranks, for Loss.summarize."""

    def __init__(self, loss: Loss, value: float, arrays: dict[str, np.ndarray]) -> None:
        self._loss = loss
        self.loss = value
        self.d_logp = arrays.get("d_logp")
        self.d_token_logp = arrays.get("d_token_logp")
        self.row_loss = arrays["row_loss"]
        self.rewards = arrays["row_reward"]
        self.zones = arrays["row_zone"]
        self.metric_sums = arrays["metric_sums"]

    @property
    def metrics(self) -> dict[str, float]:
        """This batch's metrics under TRL's names, such as ``rewards/chosen``."""
        return self._loss.summarize(self.metric_sums)

    def __repr__(self) -> str:
        return f"Result(loss={self.loss!r}, rows={self.rewards.size})"


class Loss:
    """A loss with its parameters: ``Loss("kto", beta=0.1)``, or a weighted sum: ``Loss("dpo + 0.5*sft")``.

    It never changes, so threads may share it. ``halo.registry()`` lists names and parameters.
    Raises halo.Error for an unknown name or parameter (naming the nearest) and for a value out of range.
    """

    def __init__(self, name: str, /, **params: float | bool | str) -> None:
        self._arguments = (name, params)
        encoded = json.dumps(params).encode()
        self._handle = handle("halo_loss", "halo_loss_new", name.encode(), encoded)

    def evaluate(
        self,
        *,
        z0: float | ArrayLike | None = None,
        counts: Counts | None = None,
        **columns: Unpack[_api.Columns],
    ) -> Result:
        """Value and gradient of a batch in one pass, computed in float64 whatever the dtype.

        z0: the reference point in nats, one for all rows or (R); absent = 0.
        counts: the whole step's, where this batch is not all of it.
        columns: see ``help(halo.Columns)``; which of them the loss reads says describe()["needs"].
        float32 and float64 arrays that are contiguous are read where they are.
        """
        if z0 is not None:
            common = isinstance(z0, float) or np.ndim(z0) == 0
            columns["common_refpoint" if common else "refpoint"] = z0  # type: ignore[literal-required]
        if counts is not None:
            columns["global_count"], columns["global_tokens"], columns["global_desirable_tokens"] = counts
        batch = Batch(columns)
        result = struct("halo_loss_result")
        names = self._outputs[batch.pointer.token_logp != ffi.NULL]
        result.metric_count = self._width
        arrays = outputs(batch, result, names, metric_count=self._width)
        call("halo_loss_evaluate", self._handle, batch.pointer, result)
        return Result(self, result.loss, arrays)

    def count(self, **columns: Unpack[_api.Columns]) -> Counts:
        """What this batch adds to the counts of its step."""
        counts = ffi.new("double[3]")
        call("halo_loss_count", self._handle, Batch(columns).pointer, counts, 3)
        return Counts(*counts)

    def summarize(self, metric_sums: ArrayLike) -> dict[str, float]:
        """Metrics of metric_sums that were added over batches and ranks, under TRL's names."""
        sums = np.ascontiguousarray(metric_sums, np.float64)
        view = ffi.from_buffer("double[]", sums)
        return json.loads(blob("halo_loss_summarize", self._handle, view, sums.size))

    def describe(self) -> dict[str, Any]:
        """Name, formula, shape of data, needed columns, effective parameters, reference point, where it saturates."""
        return json.loads(blob("halo_loss_describe", self._handle))

    @property
    def per_token(self) -> bool:
        """Whether its gradients are those of tokens, so that it reads token columns."""
        return self._description["per_token"]

    @cached_property
    def _description(self) -> dict[str, Any]:
        return self.describe()

    @cached_property
    def _width(self) -> int:
        return lib.halo_loss_metric_count(self._handle)

    @cached_property
    def _outputs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What to ask for without and with token columns."""
        always = ("row_loss", "row_reward", "row_zone", "metric_sums")
        rows = () if self.per_token else ("d_logp",)
        return (*rows, *always), (*rows, "d_token_logp", *always)

    def __reduce__(self):
        # The same name and parameters make the same loss, in any process.
        return _again, self._arguments

    def __repr__(self) -> str:
        name, params = self._arguments
        return "".join([f"Loss({name!r}", *(f", {key}={value!r}" for key, value in params.items()), ")"])


def _again(name: str, params: dict[str, Any]) -> Loss:
    return Loss(name, **params)


def registry() -> dict[str, Any]:
    """Losses with their parameters (type, default, range, meaning), reference points, advantages."""
    return json.loads(text(lib.halo_registry_describe()))
