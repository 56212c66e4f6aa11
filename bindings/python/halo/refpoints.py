"""Reference points in split phase: accumulate on every rank, sum over the ranks, finish once a step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._library import blob, call, ffi, handle, lib, struct
from .arrays import Batch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from typing_extensions import Unpack

    from . import _api
    from .losses import Loss

__all__ = ["Point", "RefPoint"]


class Point(NamedTuple):
    """A reference point, in nats."""

    value: float
    """z0."""
    raw: float
    """Before the clamp."""
    clamped: bool
    """Whether raw was cut to value."""


class RefPoint:
    """An estimator of z0, with what it remembers of earlier steps: ``RefPoint("ema", decay=0.9)``.

    ``RefPoint.of_loss(loss)`` is the one that a loss is set to and is what a training loop wants.
    One thread at a time: halo.Error HALO_E_BUSY otherwise. Its memory belongs into the run's checkpoint: save, load.
    """

    def __init__(self, name: str, /, **settings: float | bool) -> None:
        encoded = json.dumps(settings).encode()
        self._handle = handle("halo_refpoint", "halo_refpoint_new", name.encode(), encoded)

    @classmethod
    def of_loss(cls, loss: Loss) -> RefPoint:
        """The estimator that a loss is set to, seeing rows through the loss's modifiers.

        Raises halo.Error HALO_E_NOT_FOUND for a loss that has none.
        """
        point = cls.__new__(cls)
        point._handle = handle("halo_refpoint", "halo_refpoint_of_loss", loss._handle)
        return point

    def width(self, groups: int = 0) -> int:
        """How many numbers its sums are, for rows whose groups are 1 to `groups`."""
        return lib.halo_refpoint_width(self._handle, groups)

    def accumulate(
        self, acc: np.ndarray | None = None, *, groups: int = 0, **columns: Unpack[_api.Columns]
    ) -> np.ndarray:
        """Adds a batch to acc, float64 (width), and gives acc; without acc, to zeros.

        Reads the rows with role = halo.MISMATCH or the scored ones, as the estimator is. Sum acc over the ranks before finish.
        """
        if acc is None:
            acc = np.zeros(self.width(groups))
        elif not (isinstance(acc, np.ndarray) and acc.dtype == np.float64 and acc.flags.c_contiguous):
            raise TypeError("acc is added to in place: a contiguous numpy array of float64")
        view = ffi.from_buffer("double[]", acc, require_writable=True)
        call("halo_refpoint_accumulate", self._handle, Batch(columns).pointer, view, acc.size)
        return acc

    def finish(self, acc: ArrayLike) -> Point:
        """The point that the sums of all ranks give. Once an optimizer step: moving averages move here."""
        acc = np.ascontiguousarray(acc, np.float64)
        value = struct("halo_refpoint_value")
        view = ffi.from_buffer("double[]", acc)
        call("halo_refpoint_finish", self._handle, view, acc.size, value)
        return Point(value.value, value.raw, bool(value.clamped))

    def estimate(self, *, groups: int = 0, **columns: Unpack[_api.Columns]) -> Point:
        """accumulate and finish, where one batch is the whole step."""
        return self.finish(self.accumulate(groups=groups, **columns))

    def apply(self, **columns: Unpack[_api.Columns]) -> np.ndarray:
        """z0 for each of the R rows after finish, float64 (R): one for all, or its own where the estimator leaves the row out.

        Rows that are not scored get 0.
        """
        batch = Batch(columns)
        values = np.empty(batch.rows)
        view = ffi.from_buffer("double[]", values, require_writable=True)
        call("halo_refpoint_apply", self._handle, batch.pointer, view, batch.rows)
        return values

    def save(self) -> bytes:
        """What the estimator remembers, for load in a later process."""
        return blob("halo_refpoint_save", self._handle)

    def load(self, state: bytes) -> None:
        """Goes on where save left off. On failure nothing has changed."""
        call("halo_refpoint_load", self._handle, ffi.from_buffer(state), len(state))

    def __reduce__(self) -> Any:
        raise TypeError(
            "a halo.RefPoint is the state of a run and is not pickled or copied: keep save()'s bytes, "
            "and load() them into a new one"
        )
